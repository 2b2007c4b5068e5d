"""Client administration: the operator's `client add`, `list`, `renew`, `revoke` and `set`. Pure.

What lets a client in, or changes what it may do, is checked, recorded, persisted, and only then answered; when one of
these fails, nothing has changed (see AuthorityContext.transact). A revocation is in force first, as every revocation.

Only the operator can ask for this, over the control socket; no message of Primary, a loop or a client means it. After
`set` the client's sessions end at once, as their tokens hold its old rights; it opens another by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import (
    ClientAddMessage,
    ClientListMessage,
    ClientRenewMessage,
    ClientRevokeMessage,
    ClientSetMessage,
)
from tlsrt.channels.session.enrolment import JoinCode, pin_of
from tlsrt.config.access import MAY
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
    is_client_name,
    with_certificate,
)
from tlsrt.supervisor.authority.model.context import AuthorityContext, Undo
from tlsrt.supervisor.authority.model.join_codes import CODES_MAX, JoinCodes, PendingCode
from tlsrt.supervisor.authority.model.ports import Detail, Service, SupervisorHandler
from tlsrt.supervisor.authority.sessions.revocation import Revocations, outcome_rows, stored_code
from tlsrt.supervisor.authority.sessions.token_sizes import TokenSizes
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.supervisor.messages.sealed_code import seal_code
from tlsrt.text import did_you_mean

PAGE_BYTES = 24 * 1024  # of rows in one answer, so that with the last one it is below the cap of a packet
NO_HTTP = "this host serves no HTTP: say `http: true` under door in the configuration, seal, and start again"
HTTP_MAY_NOT = "a client that may use HTTP can lock and unlock nothing, as Primary holds its session"
NO_MAY = "a client may lock, unlock and operate the host, or nothing: --may lock,unlock"

_PAGE = re.compile(r"[0-9a-f]{64}")

Row = list[object]


class _Issued(NamedTuple):
    """What the operator is given, as a row, and what is kept of it: a certificate or a join code."""

    row: Row
    certified: Certified | None = None
    code: PendingCode | None = None


class ClientAdmin(Service):
    """Answers the operator."""

    def __init__(
        self, context: AuthorityContext, registry: Registry, codes: JoinCodes, issuer: CertificateIssuer,
        revocations: Revocations, sizes: TokenSizes,
    ) -> None:  # fmt: skip
        self._context = context
        self._config = context.config
        self._registry = registry
        self._codes = codes
        self._issuer = issuer
        self._revocations = revocations
        self._sizes = sizes
        self._loops = context.loops

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {
            "client_add": self._add,
            "client_list": self._list,
            "client_renew": self._renew,
            "client_revoke": self._revoke,
            "client_set": self._set,
        }

    def _add(self, message: ClientAddMessage, moment: Moment) -> None:
        number, name, rules, ttl_ms, http, request, code_key, page = message
        try:
            self._check_free(name)
            if page and not _PAGE.fullmatch(page):
                raise NotFound("the hash of the page is none: the command is of another version of tlsrt")
            if http and not self._config.serves_http:
                raise NotFound(NO_HTTP)
            client = Enrolled(name, checked_rules(rules, self._loops.components), bool(http), _ttl(ttl_ms), moment.wall)
            self._sizes.check_client(client)
            issued = self._issue(client, request, code_key, moment.wall)
        except (NotFound, ConfigError) as error:
            self._refuse(number, ResultCode.REFUSED, str(error))
            return
        if issued.certified is not None:
            client = with_certificate(client, issued.certified)

        def now_free() -> Enrolled:
            self._check_free(name)  # another request may have been faster
            return client

        self._keep("client_added", number, client, now_free, issued, moment, {"page": page} if page else {})

    def _renew(self, message: ClientRenewMessage, moment: Moment) -> None:
        number, name, ttl_ms, request, code_key = message
        try:
            client = self._living(name)
            if ttl_ms:
                client = replace(client, ttl_ms=_ttl(ttl_ms))
            issued = self._issue(client, request, code_key, moment.wall)
        except (NotFound, ConfigError) as error:
            self._refuse(number, ResultCode.REFUSED, str(error))
            return

        def renewed() -> Enrolled:
            if self._context.state.lock is not None:
                raise NotFound(LOCKED)
            present = replace(self._living(name), ttl_ms=client.ttl_ms)
            return with_certificate(present, issued.certified) if issued.certified is not None else present

        self._keep("client_renewed", number, client, renewed, issued, moment)

    def _keep(
        self, kind: str, number: int, client: Enrolled, present: Callable[[], Enrolled], issued: _Issued,
        moment: Moment, more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Keep a client, with a certificate or a join code, in one write. Then answer with its bundle or code."""
        certified, code = issued.certified, issued.code
        detail: dict[str, str | int] = {"http": int(client.http), "ttl_ms": client.ttl_ms}
        detail |= {"serial": certified.serial} if certified is not None else {"by": "join code"}
        detail |= more

        def change() -> Undo:
            kept = present()
            before, code_before = self._registry.get(kept.name), self._codes.of(kept.name)

            def undo() -> None:
                self._registry.remove(kept.name)
                self._codes.drop(kept.name)
                if before is not None:
                    self._registry.put(before)
                if code_before is not None:
                    self._codes.put(code_before)

            self._registry.put(kept)
            if code is None:
                self._codes.drop(kept.name)
            elif not self._codes.admit(code, moment.wall):
                undo()
                raise NotFound(f"{CODES_MAX} join codes are waiting, which is the limit: try again in some minutes")
            return undo

        def done() -> None:
            self._context.notes.note(kind, client.subject, "", ttl_ms=client.ttl_ms)
            self._context.answer(number, ResultCode.DONE, [issued.row])

        self._transact(kind, client, detail, number, moment, change, done)

    def _revoke(self, message: ClientRevokeMessage, moment: Moment) -> None:
        try:
            client = self._living(message.name)
        except NotFound as error:
            self._refuse(message.number, ResultCode.REFUSED, str(error))
            return
        self._context.recorder.note("client_revoked", client.subject, {}, moment)
        self._codes.drop(message.name)
        self._registry.put(replace(client, revoked=moment.wall))
        ended = self._revocations.end_subject(client.subject, moment)
        self._answer_when_stored(message.number, outcome_rows(ended, [["subject", client.subject, 0]]), moment)

    def _set(self, message: ClientSetMessage, moment: Moment) -> None:
        """Change the rules (none: as before) and, with `has_may`, what a client may do to the host."""
        number = message.number

        def changed() -> Enrolled:
            if self._context.state.lock is not None:
                raise NotFound(LOCKED)
            client = self._living(message.name)
            if message.rules:
                client = replace(client, rules=checked_rules(message.rules, self._loops.components))
            if message.has_may:
                client = replace(client, may=checked_may(message.may))
            if client.may and client.http:
                raise NotFound(HTTP_MAY_NOT)
            self._sizes.check_client(client)
            return client

        try:
            client = changed()
        except (NotFound, ConfigError) as error:
            self._refuse(number, ResultCode.REFUSED, str(error))
            return

        def change() -> Undo:
            present = changed()  # another request may have been faster
            before = self._living(message.name)
            self._registry.put(present)
            taken[:] = [] if present == before else [present]
            return lambda: self._registry.put(before)

        def done() -> None:
            if not taken:
                self._context.answer(number, ResultCode.DONE, outcome_rows((), []))
                return
            now, subject = self._context.moment(), client.subject
            self._context.notes.note("client_changed", subject, allowed_text(taken[0]))
            sessions = [each for each in self._context.sessions if each.subject == subject]
            self._answer_when_stored(number, outcome_rows(self._revocations.end_sessions(sessions, now), []), now)

        taken: list[Enrolled] = []
        detail: dict[str, str | int] = {"allow": allowed_text(client), "may": ", ".join(client.may)}
        self._transact("client_changed", client, detail, number, moment, change, done)

    def _transact(
        self, kind: str, client: Enrolled, detail: Detail, number: int, moment: Moment,
        change: Callable[[], Undo], done: Callable[[], None],
    ) -> None:  # fmt: skip
        self._context.transact(
            kind, client.subject, detail, moment, change, done,
            lambda code, sentence: self._refuse(number, code, sentence),
        )  # fmt: skip

    def _list(self, message: ClientListMessage, moment: Moment) -> None:
        """Answer with the clients whose names follow one."""
        open_now: dict[str, int] = {}
        for session in self._context.sessions:
            open_now[session.subject] = open_now.get(session.subject, 0) + int(session.is_working)
        rows: list[object] = []
        size = 0
        names = {*(client.name for client in self._config.clients), *(each.name for each in self._registry)}
        for name in sorted(names):
            if name <= message.after:
                continue
            if size > PAGE_BYTES:
                rows.append(["more"])
                break
            row = self._row(name, open_now.get(f"client/{name}", 0))
            rows.append(row)
            size += 200 + len(str(row))
        self._context.answer(message.number, ResultCode.DONE, rows)

    def _row(self, name: str, sessions: int) -> Row:
        first = self._context.state.first_opens.get(f"client/{name}", 0)
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

    # Checks

    def _check_free(self, name: str) -> None:
        if not is_client_name(name):
            raise NotFound(f'"{name}" is no client name: use a-z, 0-9 and _, starting with a letter, at most 31')
        if self._context.state.lock is not None:
            raise NotFound(LOCKED)
        if self._registry.is_listed(name):
            raise NotFound(f"the configuration lists a client {name} already: choose another name")
        if self._registry.living(f"client/{name}") is not None:
            raise NotFound(f"there is a client {name} already: `client renew {name}` gives it another certificate")
        if len(self._registry) >= CLIENTS_MAX and self._registry.get(name) is None:
            raise NotFound(f"{CLIENTS_MAX} clients are enrolled or revoked, which is the limit")

    def _living(self, name: str) -> Enrolled:
        """Return an enrolled client that is not revoked; raise NotFound with a sentence."""
        client = self._registry.living(f"client/{name}")
        if client is not None:
            return client
        if self._registry.is_listed(name):
            raise NotFound(
                f"{name} is listed in the configuration, and lives and ends there: `revoke client {name}` shuts it out"
            )
        known = self._registry.get(name)
        if known is None:
            near = did_you_mean(name, (client.name for client in self._registry if not client.revoked))
            raise NotFound(f"there is no client {name}{near}")
        raise NotFound(f"the client {name} is revoked already")

    def _issue(self, client: Enrolled, request: bytes, code_key: bytes, wall: int) -> _Issued:
        """Make a certificate for a signing request, or else a join code. Raises NotFound, ConfigError."""
        if not request:
            return self._new_code(client.name, code_key, wall)
        try:
            answer, certified = self._issuer.certify(client, request, wall)
        except PeerError as error:
            raise NotFound(f"the certificate signing request is refused: {error.reason}") from error
        row: Row = ["bundle", answer.certificate, answer.ca, answer.issuer, answer.issuer_version]
        return _Issued(row, certified=certified)

    def _new_code(self, name: str, code_key: bytes, wall: int) -> _Issued:
        """Make a join code, with its text for the command alone, and until when it is good."""
        if not code_key:
            raise NotFound("the command sent no key to seal a join code to: it is another version of tlsrt")
        pin = pin_of(self._issuer.pinned().public_bytes(Encoding.DER))
        issuer = self._context.keys.newest.issuer
        code = self._codes.make(name, issuer.key_version, wall)
        text = JoinCode(code.code_id, issuer.join_secret(code.code_id), pin).text()
        return _Issued(["code", seal_code(text, name, code_key), code.ends], code=code)

    def _answer_when_stored(self, number: int, rows: list[object], moment: Moment) -> None:
        self._context.writer.keep(
            moment.now, lambda is_stored: self._context.answer(number, stored_code(is_stored=is_stored), rows)
        )

    def _refuse(self, number: int, code: ResultCode, sentence: str) -> None:
        self._context.answer(number, code, [sentence])


def checked_may(words: object) -> tuple[str, ...]:
    """Return what a client may do to the host, as it is kept. Raise ConfigError for anything else."""
    if not isinstance(words, list) or len(words) > len(MAY) or not all(word in MAY for word in words):
        raise ConfigError(NO_MAY)
    if len(set(words)) < len(words):
        raise ConfigError(NO_MAY)
    return tuple(sorted(words))


def allowed_text(client: Enrolled) -> str:
    """Return in one line what a client may call."""
    return "; ".join(f"{target}: {', '.join(methods)}" for target, methods in client.rules)


def _ttl(ttl_ms: int) -> int:
    if not TTL_LEAST_MS <= ttl_ms <= TTL_MOST_MS:
        raise NotFound("a certificate lives from 60s to 397d: --ttl 90d")
    return ttl_ms
