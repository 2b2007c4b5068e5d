"""What the authority does for a client that comes with a join code: check, certify, keep, answer. No descriptor here.

Primary carries the bytes and may be captured. It learns nothing that would let it join: the MAC binds the signing
request, whose key only the client has. It can use up a code's tries, or drop the answer; the operator makes another.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from tlsrt.channels.control.trust import EnrolMessage
from tlsrt.channels.session.enrolment import answer_mac, encode_answer, request_mac
from tlsrt.errors import NotFound, PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.clients.issuing import CertificateIssuer
from tlsrt.supervisor.authority.model.client_registry import Certified, Registry, with_certificate
from tlsrt.supervisor.authority.model.join_codes import JoinCodes, PendingCode
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind
from tlsrt.supervisor.authority.service import AuthorityService

DETECTOR = "enrolment"
USED_UP = "join_code_used_up"  # always told: once for each code that the operator made
UNKNOWN_POINTS, MISSED_POINTS = 5, 20
NOTES = 5  # of refusals a second: Primary may be captured, and must not push out those of others
ADDRESS_MAX = 64


class Enrolment:
    """Answers `enrol`. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(
        self, registry: Registry, codes: JoinCodes, certifier: CertificateIssuer, service: AuthorityService,
        persist: Callable[[], bool], outlet: Outgoing,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._codes = codes
        self._certifier = certifier
        self._service = service
        self._persist = persist
        self._outlet = outlet
        self._notes = Bucket(NOTES, NOTES)

    def enrol(self, primary: LoopEntry, message: EnrolMessage, now: int, wall: int) -> None:
        """Answer a client with its certificate, or refuse it with a word that says nothing."""
        connection, address, code_id, request, mac = message
        issuer = self._service.ring.newest.issuer
        secret = issuer.join_secret(code_id)
        is_proved = hmac.compare_digest(request_mac(code_id, secret, request), mac)
        code = self._codes.get(code_id, issuer.key_version, wall)
        client = self._registry.living(f"client/{code.name}") if code is not None else None
        if code is None or client is None:
            self._refuse(connection, address, "join_code_unknown", UNKNOWN_POINTS, now, wall)
            return
        if not is_proved:
            reason = USED_UP if self._codes.miss(code) else "join_code_wrong"
            self._persist()
            self._refuse(connection, address, reason, MISSED_POINTS, now, wall)
            return
        try:
            made, certified = self._certifier.certify(client, request, wall)
        except (NotFound, PeerError) as error:
            self._refuse(connection, address, str(error), 0, now, wall)
            return
        answer = encode_answer(made)
        proof = answer_mac(code_id, secret, request, answer)

        def then() -> None:
            if self._use(code, certified, wall):
                self._outlet.send(GATE, "enrolled", connection, answer, proof)
            else:
                self._refuse(connection, address, "join_unwritten", 0, now, wall)

        self._service.audit.before(
            "client_enrolled", client.subject, {"serial": certified.serial, "address": address[:ADDRESS_MAX]}, now,
            wall, then, lambda sentence: self._refuse(connection, address, sentence, 0, now, wall),
        )  # fmt: skip

    def _use(self, code: PendingCode, certified: Certified, wall: int) -> bool:
        """Use a code up and keep the certificate, in one write; False, and nothing has changed, if that fails."""
        present = self._codes.get(code.code_id, code.key_version, wall)  # another connection may have been faster
        client = self._registry.living(f"client/{code.name}")
        if present is None or client is None:
            return False
        self._codes.use(present)
        self._registry.put(with_certificate(client, certified))
        if self._persist():
            self._service.revoking.notes.note("client_enrolled", client.subject, "", serial=certified.serial)
            return True
        self._registry.put(client)
        self._codes.put(present)
        return False

    def _refuse(self, connection: int, address: str, reason: str, points: int, now: int, wall: int) -> None:
        self._outlet.send(GATE, "not_enrolled", connection)
        if points:
            charge = Charge(ChargeKind.ADDRESS, address[:ADDRESS_MAX])
            self._service.response.add(DETECTOR, charge, points, {"reason": reason}, now, wall)
        if self._notes.take(now / 1000) or reason == USED_UP:
            self._outlet.log(f"a client at {address[:ADDRESS_MAX]!r} was not enrolled: {reason}")
            self._service.revoking.notes.note("client_refused", "door", reason)
