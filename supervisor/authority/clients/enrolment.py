"""Enrolment of a client with a join code: check, certify, keep, answer. Pure.

Primary carries the bytes and may be captured. It learns nothing that would let it join: the MAC binds the signing
request, whose key only the client has. It can use up a code's tries, or drop the answer; the operator makes another.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.client_messages import EnrolMessage
from tlsrt.channels.session.enrolment import answer_mac, encode_answer, request_mac
from tlsrt.errors import NotFound, PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.clients.issuing import LOCKED, CertificateIssuer
from tlsrt.supervisor.authority.model.client_registry import Registry, with_certificate
from tlsrt.supervisor.authority.model.context import NOT_WRITTEN, AuthorityContext, Undo
from tlsrt.supervisor.authority.model.join_codes import JoinCodes
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.model.ports import Detail, Detection, LoopHandler, Service, SignalSource, SourceKind
from tlsrt.supervisor.messages.result_codes import ResultCode

DETECTOR = "enrolment"
REUSED, OVER = "join_code_reused", "join_code_over"
USED_MAX = 256  # codes that are remembered as used, to say so
USED_UP = "join_code_used_up"  # always told: once for each code that the operator made
UNKNOWN_POINTS, MISSED_POINTS = 5, 20
NOTES = 5  # of refusals a second: Primary may be captured, and must not push out those of others
ADDRESS_MAX = 64


class Enrolment(Service):
    """Handles `enrol`."""

    def __init__(
        self, context: AuthorityContext, registry: Registry, codes: JoinCodes, issuer: CertificateIssuer,
        detection: Detection,
    ) -> None:  # fmt: skip
        self._context = context
        self._registry = registry
        self._codes = codes
        self._issuer = issuer
        self._detection = detection
        self._outgoing = context.outgoing
        self._rate = Bucket(NOTES, NOTES)
        self._used: dict[bytes, str] = {}  # id of a code -> the client that it has enrolled

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"enrol": self._on_enrol}

    def _on_enrol(self, primary: LoopEntry, message: EnrolMessage, moment: Moment) -> None:
        """Answer a client with its certificate, or refuse it with a word that says nothing."""
        connection, address, code_id, request, mac = message
        gate = primary.incarnation
        issuer = self._context.keys.newest.issuer
        secret = issuer.join_secret(code_id)
        is_proved = hmac.compare_digest(request_mac(code_id, secret, request), mac)
        code = self._codes.get(code_id, issuer.key_version, moment.wall)
        client = self._registry.living(f"client/{code.name}") if code is not None else None
        if code is None or client is None:
            # Who has the secret of a code has had its link: the host says to its operator which.
            used = self._used.get(code_id, "") if is_proved else ""
            reason = REUSED if used else OVER if is_proved else "join_code_unknown"
            self._refuse(gate, connection, address, reason, UNKNOWN_POINTS, moment, used)
            return
        if not is_proved:
            reason = USED_UP if self._codes.miss(code) else "join_code_wrong"
            self._context.writer.keep(moment.now)
            self._refuse(gate, connection, address, reason, MISSED_POINTS, moment)
            return
        try:
            made, certified = self._issuer.certify(client, request, moment.wall)
        except (NotFound, PeerError) as error:
            self._refuse(gate, connection, address, str(error), 0, moment)
            return
        answer = encode_answer(made)
        proof = answer_mac(code_id, secret, request, answer)

        def change() -> Undo:
            if self._context.state.lock is not None:
                raise NotFound(LOCKED)
            present = self._codes.get(code.code_id, code.key_version, moment.wall)
            living = self._registry.living(client.subject)
            if present is None or living is None:  # another connection was faster, or the client was revoked
                raise NotFound("join_unwritten")
            self._codes.use(present)
            self._registry.put(with_certificate(living, certified))

            def undo() -> None:
                self._registry.put(living)
                self._codes.put(present)

            return undo

        def done() -> None:
            self._remember(code_id, client.subject)
            more = {"address": address[:ADDRESS_MAX], "fingerprint": certified.fingerprint.hex(":").upper()}
            self._context.notes.note("client_enrolled", client.subject, "", serial=certified.serial, **more)
            self._context.answer_gate(gate, "enrolled", connection, answer, proof)

        def refused(result: ResultCode, sentence: str) -> None:
            reason = "join_unwritten" if sentence == NOT_WRITTEN else sentence
            self._refuse(gate, connection, address, reason, 0, moment)

        detail: Detail = {"serial": certified.serial, "address": address[:ADDRESS_MAX]}
        self._context.transact("client_enrolled", client.subject, detail, moment, change, done, refused)

    def _refuse(
        self, gate: int, connection: int, address: str, reason: str, points: int, moment: Moment, subject: str = ""
    ) -> None:  # fmt: skip
        self._context.answer_gate(gate, "not_enrolled", connection)
        if points:
            source = SignalSource(SourceKind.ADDRESS, address[:ADDRESS_MAX])
            self._detection.add(DETECTOR, source, points, {"reason": reason}, moment)
        if self._rate.take(moment.now / 1000) or reason == USED_UP:
            self._outgoing.log(f"a client at {address[:ADDRESS_MAX]!r} was not enrolled: {reason}")
            if subject:
                self._context.notes.note("join_code_reused", subject, "", address=address[:ADDRESS_MAX])
            else:
                self._context.notes.note("client_refused", "door", reason)

    def _remember(self, code_id: bytes, subject: str) -> None:
        """Note a code as used, in place of the oldest one if there are many."""
        while len(self._used) >= USED_MAX:
            del self._used[next(iter(self._used))]
        self._used[code_id] = subject
