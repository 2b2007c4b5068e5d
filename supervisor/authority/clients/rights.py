"""What an enrolled client may do is changed: which methods it may call, and whether it may lock and unlock the host.

Only the operator can ask for this, over the control socket; no message of Primary, a loop or a client means it. The
change is written to the audit record, then to the disk, and only then in force; when one of them refuses, nothing has
changed. The client's sessions end at once, as their tokens say what it might do before; it comes again by itself, and
gets what it may do now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tlsrt.channels.control.authority_channel import ClientSetMessage
from tlsrt.errors import ConfigError, NotFound
from tlsrt.supervisor.authority.clients.issuing import LOCKED
from tlsrt.supervisor.authority.model.client_registry import MAY, Enrolled, Registry, checked_rules
from tlsrt.supervisor.authority.service import AuthorityService
from tlsrt.supervisor.authority.sessions.revocation import RevocationOutcome
from tlsrt.supervisor.messages.result_codes import ResultCode

NOT_WRITTEN = "the authority's state cannot be written, so nothing has changed: make room on its disk"
HTTP_MAY_NOT = "a client that may use HTTP can lock and unlock nothing, as Primary holds its session"
NO_MAY = "a client may lock, unlock, both, or nothing: --may lock,unlock"


class ClientRights:
    """Answers the operator. Times are BOOTTIME in ms, but for `wall`.

    `living` returns a client or raises NotFound; `prove` returns why rights do not fit into a token, or nothing.
    """

    def __init__(
        self,
        registry: Registry,
        living: Callable[[str], Enrolled],
        targets: Iterable[str],
        prove: Callable[[Enrolled], str],
        persist: Callable[[], bool],
        service: AuthorityService,
    ) -> None:
        self._registry = registry
        self._living = living
        self._targets = tuple(targets)
        self._prove = prove
        self._persist = persist
        self._service = service

    def set(self, message: ClientSetMessage, now: int, wall: int) -> None:
        """Change rules (none: as before) and, where the fourth field says so, what a client may do to the host."""
        number, name, rules, has_may, may = message

        def changed() -> Enrolled:
            if self._service.lock.is_locked:
                raise NotFound(LOCKED)
            client = self._living(name)
            if rules:
                client = replace(client, rules=checked_rules(rules, self._targets))
            if has_may:
                client = replace(client, may=checked_may(may))
            if client.may and client.http:
                raise NotFound(HTTP_MAY_NOT)
            problem = self._prove(client)
            if problem:
                raise NotFound(problem)
            return client

        def then() -> None:
            try:
                client = changed()  # another request may have been faster
            except (NotFound, ConfigError) as error:
                self._refuse(number, str(error))
                return
            self._keep(number, client, now, wall)

        try:
            client = changed()
        except (NotFound, ConfigError) as error:
            self._refuse(number, str(error))
            return
        detail: dict[str, str | int] = {"allow": allowed_text(client), "may": ", ".join(client.may)}
        self._service.audit.before(
            "client_changed", client.subject, detail, now, wall, then,
            lambda sentence: self._refuse(number, sentence, ResultCode.UNCHANGED),
        )  # fmt: skip

    def _keep(self, number: int, client: Enrolled, now: int, wall: int) -> None:
        """Write it down; then end the sessions that were opened with what it might do before."""
        before = self._registry.get(client.name)
        assert before is not None
        if client == before:
            self._service.desk.tell(number, RevocationOutcome((), True), [])
            return
        self._registry.put(client)
        if not self._persist():
            self._registry.put(before)
            self._refuse(number, NOT_WRITTEN, ResultCode.UNCHANGED)
            return
        self._service.revoking.notes.note("client_changed", client.subject, allowed_text(client))
        sessions = [each for each in self._service.manager if each.subject == client.subject]
        self._service.desk.tell(number, self._service.revoking.end_sessions(sessions, now, wall), [])

    def _refuse(self, number: int, sentence: str, code: ResultCode = ResultCode.REFUSED) -> None:
        self._service.outlet.tell("answer", number, int(code), 0, [sentence])


def checked_may(words: object) -> tuple[str, ...]:
    """Return what a client may do to the host, as it is kept; raise ConfigError for anything else."""
    if not isinstance(words, list) or len(words) > len(MAY) or not all(word in MAY for word in words):
        raise ConfigError(NO_MAY)
    return tuple(sorted(set(words)))


def allowed_text(client: Enrolled) -> str:
    """Return in one line what a client may call."""
    return "; ".join(f"{target}: {', '.join(methods)}" for target, methods in client.rules)
