"""What an operator asks of the authority about clients: to add, list, renew and revoke them. No descriptor here.

What lets somebody in is checked, written to the audit record, then to the disk, and only then answered; when the disk
refuses, nothing has changed. Whoever is revoked is shut out first, as with every revocation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from tlsrt.channels.control.authority_channel import (
    ClientAddMessage,
    ClientListMessage,
    ClientRenewMessage,
    ClientRevokeMessage,
)
from tlsrt.channels.session.enrolment import JoinCode, pin_of
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, NotFound, PeerError
from tlsrt.supervisor.authority.clients.issuing import LOCKED, CertificateIssuer
from tlsrt.supervisor.authority.model.client_registry import (
    CLIENTS_MAX,
    TTL_LEAST_MS,
    TTL_MOST_MS,
    Certified,
    Enrolled,
    Registry,
    checked_rules,
    in_use,
    is_client_name,
    with_certificate,
)
from tlsrt.supervisor.authority.model.join_codes import CODES_MAX, JoinCodes
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.service import AuthorityService
from tlsrt.supervisor.authority.sessions.manager import Session, SessionManager
from tlsrt.supervisor.messages.result_codes import ResultCode

PAGE_BYTES = 24 * 1024  # of rows in one answer, so that with the last one it is below the cap of a packet
NOT_WRITTEN = "the authority's state cannot be written, so nothing has changed: make room on its disk"
NO_HTTP = "this host serves no HTTP: say `http: true` under door in the configuration, seal, and start again"

Row = list[object]


class ClientAdmin:
    """Answers the operator. Times are BOOTTIME in ms, but for `wall`.

    `prove` returns why a client's rights do not fit into a token, or nothing.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        codes: JoinCodes,
        certifier: CertificateIssuer,
        service: AuthorityService,
        manager: SessionManager,
        state: AuthorityState,
        persist: Callable[[], bool],
        prove: Callable[[Enrolled], str],
        outlet: Outgoing,
    ) -> None:
        self._config = config
        self._registry = registry
        self._codes = codes
        self._certifier = certifier
        self._service = service
        self._manager = manager
        self._state = state
        self._persist = persist
        self._prove = prove
        self._outlet = outlet
        self._targets = [component.address for component in config.components]
        self.handlers: dict[str, Callable[[Any, int, int], None]] = {
            "client_add": self._add,
            "client_list": self._list,
            "client_renew": self._renew,
            "client_revoke": self._revoke,
        }

    def _add(self, message: ClientAddMessage, now: int, wall: int) -> None:
        number, name, rules, ttl_ms, http, request = message
        try:
            self._check_free(name)
            if http and not self._config.serves_http:
                raise NotFound(NO_HTTP)
            client = Enrolled(name, checked_rules(rules, self._targets), bool(http), _ttl(ttl_ms), wall)
            self._check_size(client)
            bundle, certified = self._issue(client, request, wall)
        except (NotFound, ConfigError) as error:
            self._refuse(number, str(error))
            return
        if certified is not None:
            client = with_certificate(client, certified)

        def then() -> None:
            try:
                self._check_free(name)  # another request may have been faster
            except NotFound as error:
                self._refuse(number, str(error))
                return
            self._keep(number, client, bundle, "client_added", wall)

        self._before("client_added", client, certified, number, now, wall, then)

    def _renew(self, message: ClientRenewMessage, now: int, wall: int) -> None:
        number, name, ttl_ms, request = message
        try:
            client = self.living(name)
            if ttl_ms:
                client = replace(client, ttl_ms=_ttl(ttl_ms))
            bundle, certified = self._issue(client, request, wall)
        except (NotFound, ConfigError) as error:
            self._refuse(number, str(error))
            return

        def then() -> None:
            try:
                present = self.living(name)
            except NotFound as error:
                self._refuse(number, str(error))
                return
            renewed = replace(present, ttl_ms=client.ttl_ms)
            if certified is not None:
                renewed = with_certificate(renewed, certified)
            self._keep(number, renewed, bundle, "client_renewed", wall)

        self._before("client_renewed", client, certified, number, now, wall, then)

    def _revoke(self, message: ClientRevokeMessage, now: int, wall: int) -> None:
        number, name = message
        try:
            client = self.living(name)
        except NotFound as error:
            self._refuse(number, str(error))
            return
        self._service.audit.note("client_revoked", client.subject, {}, now, wall)
        self._codes.drop(name)
        self._registry.put(replace(client, revoked=wall))
        outcome = self._service.revoking.end_subject(client.subject, now, wall)
        rows: list[Row] = [["subject", client.subject, 0]]
        self._service.desk.tell(number, outcome, rows)

    def _list(self, message: ClientListMessage, now: int, wall: int) -> None:
        """Answer with the clients whose names follow one."""
        number, after = message
        open_now: dict[str, int] = {}
        for session in self._manager:
            open_now[session.subject] = open_now.get(session.subject, 0) + int(session.is_working)
        rows: list[Row] = []
        size = 0
        for name in sorted(
            {*(client.name for client in self._config.clients), *(each.name for each in self._registry)}
        ):
            if name <= after:
                continue
            if size > PAGE_BYTES:
                rows.append(["more"])
                break
            row = self._row(name, open_now.get(f"client/{name}", 0))
            rows.append(row)
            size += 200 + len(str(row))
        self._answer(number, rows)

    def opened(self, session: Session, now: int, wall: int) -> None:
        """A client has come with a certificate: those before it end, and the sessions that were opened with them."""
        client = self._registry.living(session.subject)
        if client is None:
            return
        present = in_use(client, session.confirmation)
        if present is client:
            return
        self._registry.put(present)
        self._service.audit.note(
            "client_certificate_used", client.subject, {"serial": present.certificates[0].serial}, now, wall
        )
        kept = {each.fingerprint for each in present.certificates}
        old = [each for each in self._manager if each.subject == session.subject and each.confirmation not in kept]
        self._service.revoking.end_sessions(old, now, wall)

    def _row(self, name: str, sessions: int) -> Row:
        first = self._state.first_opens.get(f"client/{name}", 0)
        listed = next((client for client in self._config.clients if client.name == name), None)
        if listed is not None:
            return ["listed", name, listed.http, sessions, first, listed.fingerprint]
        client = self._registry.get(name)
        assert client is not None
        rules = [[target, list(methods)] for target, methods in client.rules]
        certificates = [[each.serial, each.fingerprint, each.ends] for each in client.certificates]
        return [
            "enrolled", name, client.http, sessions, first, rules, client.ttl_ms, client.added, certificates,
            client.revoked, list(client.may),
        ]  # fmt: skip

    # What is checked

    def _check_free(self, name: str) -> None:
        if not is_client_name(name):
            raise NotFound(f'"{name}" is no client name: use a-z, 0-9 and _, starting with a letter, at most 31')
        if self._service.lock.is_locked:
            raise NotFound(LOCKED)
        if self._registry.is_listed(name):
            raise NotFound(f"the configuration lists a client {name} already: choose another name")
        if self._registry.living(f"client/{name}") is not None:
            raise NotFound(f"there is a client {name} already: `client renew {name}` gives it another certificate")
        if len(self._registry) >= CLIENTS_MAX and self._registry.get(name) is None:
            raise NotFound(f"{CLIENTS_MAX} clients are enrolled or revoked, which is the limit")

    def living(self, name: str) -> Enrolled:
        """Return an enrolled client that is not revoked; raise NotFound with a sentence."""
        client = self._registry.living(f"client/{name}")
        if client is not None:
            return client
        if self._registry.is_listed(name):
            raise NotFound(
                f"{name} is listed in the configuration, and lives and ends there: `revoke client {name}` shuts it out"
            )
        known = self._registry.get(name)
        raise NotFound(f"there is no client {name}" if known is None else f"the client {name} is revoked already")

    def _check_size(self, client: Enrolled) -> None:
        problem = self._prove(client)
        if problem:
            raise NotFound(problem)

    def _issue(self, client: Enrolled, request: bytes, wall: int) -> tuple[Row | None, Certified | None]:
        """Return what a bundle needs, as a row, and what the registry keeps of the certificate; nothing for a code."""
        if not request:
            self._certifier.pinned()
            return None, None
        try:
            answer, certified = self._certifier.certify(client, request, wall)
        except PeerError as error:
            raise NotFound(f"the certificate signing request is refused: {error.reason}") from error
        return ["bundle", answer.certificate, answer.ca, answer.issuer, answer.issuer_version], certified

    # How it ends

    def _before(
        self, kind: str, client: Enrolled, certified: Certified | None, number: int, now: int, wall: int,
        then: Callable[[], None],
    ) -> None:  # fmt: skip
        detail: dict[str, str | int] = {"http": int(client.http), "ttl_ms": client.ttl_ms}
        detail |= {"serial": certified.serial} if certified is not None else {"by": "join code"}
        self._service.audit.before(
            kind, client.subject, detail, now, wall, then,
            lambda sentence: self._refuse(number, sentence, ResultCode.UNCHANGED),
        )  # fmt: skip

    def _keep(self, number: int, client: Enrolled, bundle: Row | None, event: str, wall: int) -> None:
        """Keep a client, with a certificate or a join code, in one write; then answer."""
        before, code_before = self._registry.get(client.name), self._codes.of(client.name)
        self._registry.put(client)
        try:
            row = bundle if bundle is not None else self._code(client.name, wall)
            if bundle is not None:
                self._codes.drop(client.name)
            code = ResultCode.DONE if self._persist() else ResultCode.UNCHANGED
            problem = NOT_WRITTEN
        except NotFound as error:
            code, problem, row = ResultCode.REFUSED, str(error), []
        if code is ResultCode.DONE:
            self._service.revoking.notes.note(event, client.subject, "", ttl_ms=client.ttl_ms)
            self._answer(number, [row])
            return
        self._registry.remove(client.name)
        self._codes.drop(client.name)
        if before is not None:
            self._registry.put(before)
        if code_before is not None:
            self._codes.put(code_before)
        self._refuse(number, problem, code)

    def _code(self, name: str, wall: int) -> Row:
        """Return a new join code for a client, as a row: the text, and until when it is good."""
        issuer = self._service.ring.newest.issuer
        pinned = self._certifier.pinned()
        code = self._codes.make(name, issuer.key_version, wall)
        if code is None:
            raise NotFound(f"{CODES_MAX} join codes are waiting, which is the limit: try again in some minutes")
        secret = issuer.join_secret(code.code_id)
        return ["code", JoinCode(code.code_id, secret, pin_of(pinned.public_bytes(Encoding.DER))).text(), code.ends]

    def _answer(self, number: int, rows: list[Row]) -> None:
        self._outlet.tell("answer", number, int(ResultCode.DONE), 0, rows)

    def _refuse(self, number: int, sentence: str, code: ResultCode = ResultCode.REFUSED) -> None:
        self._outlet.tell("answer", number, int(code), 0, [sentence])


def _ttl(ttl_ms: int) -> int:
    if not TTL_LEAST_MS <= ttl_ms <= TTL_MOST_MS:
        raise NotFound("a certificate lives from 60s to 397d: --ttl 90d")
    return ttl_ms
