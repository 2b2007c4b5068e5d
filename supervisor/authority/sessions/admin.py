"""Session administration: the operator's `sessions`, `revoke` and `restore`. Pure.

Every request has a number, and is answered by `answer` with that number, a code and rows. Lists come in pages: the
request for the next one names the last id of this one, so that nothing has to wait in the channel. What is revoked, and
in which order it is told and written, is in revocation.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import RestoreMessage, RevokeMessage, SessionsMessage
from tlsrt.config.processes import loop_of_address
from tlsrt.errors import NotFound
from tlsrt.supervisor.authority.epoch_change import EpochChanges
from tlsrt.supervisor.authority.model.client_registry import Registry
from tlsrt.supervisor.authority.model.context import NOT_WRITTEN, AuthorityContext
from tlsrt.supervisor.authority.model.ports import PROMPT, Service, SupervisorHandler
from tlsrt.supervisor.authority.sessions.manager import CLIENT, ID_BYTES, Session
from tlsrt.supervisor.authority.sessions.revocation import Ended, Revocations, outcome_rows, stored_code
from tlsrt.supervisor.messages.result_codes import ROWS_MAX, ResultCode

ID_LEAST = 4  # hex digits of an id
NAMES_SHOWN = 20
_ID = re.compile(rf"[0-9a-f]{{{ID_LEAST},{2 * ID_BYTES}}}")

Row = list[object]
Revoke = Callable[[int, list[Row], Moment], None]  # request, rows that come first, now, wall


class SessionAdmin(Service):
    """Answers the operator."""

    def __init__(
        self, context: AuthorityContext, registry: Registry, revocations: Revocations, changes: EpochChanges
    ) -> None:
        self._context = context
        self._registry = registry
        self._manager = context.sessions
        self._revocations = revocations
        self._changes = changes
        self._listed = [f"{CLIENT}/{client.name}" for client in context.config.clients]
        self._loops = context.loops

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"sessions": self._sessions, "revoke": self._revoke, "restore": self._restore}

    def _sessions(self, message: SessionsMessage, moment: Moment) -> None:
        """Answer with the sessions whose ids follow one. The last page has the revoked subjects, too."""
        number, after = message
        following = sorted((s for s in self._manager if s.session_id > after), key=lambda s: s.session_id)
        rows = [_row(session, moment.now) for session in following[:ROWS_MAX]]
        more = len(following) > ROWS_MAX
        if not more:
            shut = sorted(self._revocations.left(moment).items())[: ROWS_MAX * 4]
            rows += [["revoked", subject, left, int(not left)] for subject, left in shut]
        self._context.answer(number, ResultCode.DONE, rows, more=more)

    def _revoke(self, message: RevokeMessage, moment: Moment) -> None:
        """Record it, revoke, and answer with who was hit. What cannot be recorded is done all the same, and said."""
        number, kind, what, for_ms = message
        try:
            subject, revoke = self._plan(kind, what, for_ms)
        except NotFound as error:
            self._refuse(number, error.message)
            return
        self._context.recorder.before(
            "revoke", subject, {"kind": kind, "for_ms": for_ms}, moment,
            lambda: revoke(number, [], self._context.moment()),
            lambda sentence: revoke(number, [["unrecorded", sentence]], self._context.moment()), PROMPT,
        )  # fmt: skip

    def _restore(self, message: RestoreMessage, moment: Moment) -> None:
        """Let a component, the components of a loop or a client in again."""
        number, kind, what = message
        try:
            subjects = [name for name in self._subjects(kind, what) if name in self._revocations.subjects()]
            if not subjects:
                raise NotFound(f"{kind} {what} is not revoked")
        except NotFound as error:
            self._refuse(number, error.message)
            return
        restoration = self._revocations.restoration(subjects)

        def done() -> None:
            names = restoration.written(self._context.now)
            self._context.answer(number, ResultCode.DONE, [["subject", name, 0] for name in names])

        def refused(code: ResultCode, sentence: str) -> None:
            restoration.end()
            self._refuse(number, sentence if sentence == NOT_WRITTEN else f"{sentence}, so nothing has changed", code)

        self._context.transact(
            "restore", f"{kind} {what}", {"subjects": len(subjects)}, moment, restoration.change, done, refused
        )

    def _plan(self, kind: str, what: str, for_ms: int) -> tuple[str, Revoke]:
        """Return what is to be revoked, for the record, and what does it. Raises NotFound."""
        if kind == "all":
            return "all sessions", self._revoke_all
        if kind in ("session", "token"):
            is_session = kind == "session"
            if not is_session and len(what) == 2 * ID_BYTES and _ID.fullmatch(what):
                found = bytes.fromhex(what)  # it need not be the newest of its session
            else:
                found = self._one(kind, what, lambda each: each.session_id if is_session else each.token_id)
            end = self._revocations.revoke_session if is_session else self._revocations.revoke_token
            return f"{kind} {found.hex()}", lambda number, rows, moment: self._answer(
                number, end(found, moment), rows, moment
            )
        subjects = self._subjects(kind, what)
        named: list[Row] = [["subject", name, for_ms] for name in subjects]
        return f"{kind} {what}", lambda number, rows, moment: self._answer(
            number, self._revocations.revoke_subjects(subjects, for_ms, moment), [*named, *rows], moment
        )

    def _revoke_all(self, number: int, rows: list[Row], moment: Moment) -> None:
        ended = self._revocations.revoke_all(moment)
        is_answered = False

        def answer(code: ResultCode, first: list[Row]) -> None:
            nonlocal is_answered
            if not is_answered:
                is_answered = True
                self._context.answer(number, code, outcome_rows(ended, first))

        def kept(is_stored: bool) -> None:
            if not is_stored:  # the epoch moves when it can be written
                answer(ResultCode.UNWRITTEN, rows)

        self._changes.leave(moment.now, lambda epoch: answer(ResultCode.DONE, [["epoch", epoch], *rows]))
        self._context.writer.keep(moment.now, kept)

    def _one(self, kind: str, what: str, id_of: Callable[[Session], bytes]) -> bytes:
        if not _ID.fullmatch(what):
            raise NotFound(f'"{what}" is no id: give at least {ID_LEAST} hex digits of one that `sessions` shows')
        found = {id_of(session) for session in self._manager if id_of(session).hex().startswith(what)}
        if not found:
            raise NotFound(f'no {kind} of now begins with "{what}": `sessions --json` shows those that there are')
        if len(found) > 1:
            raise NotFound(f'the ids of {len(found)} {kind}s begin with "{what}": give more digits')
        return found.pop()

    def _subjects(self, kind: str, what: str) -> Sequence[str]:
        if kind == "component":
            return [_known(what, self._loops.components, kind)]
        if kind == "client":
            return [_known(f"{CLIENT}/{what}", [*self._listed, *self._enrolled()], kind)]
        if kind == "loop":
            loop = _known(what, self._loops.names, kind)
            return [
                component
                for entry in self._loops
                for component in entry.components
                if loop in (entry.loop, loop_of_address(component))
            ]
        raise NotFound(f"the authority knows no {kind} that can be revoked")

    def _enrolled(self) -> list[str]:
        return [client.subject for client in self._registry if self._registry.living(client.subject)]

    def _answer(self, number: int, ended: Ended, first: list[Row], moment: Moment) -> None:
        """Answer when it is persisted, or with the news that it is not yet."""
        rows = outcome_rows(ended, first)
        self._context.writer.keep(
            moment.now, lambda is_stored: self._context.answer(number, stored_code(is_stored=is_stored), rows)
        )

    def _refuse(self, number: int, sentence: str, code: ResultCode = ResultCode.REFUSED) -> None:
        self._context.answer(number, code, [sentence])


def _row(session: Session, now: int) -> Row:
    return [
        "session", session.session_id.hex(), session.subject, session.owner, str(session.state),
        max(0, now - session.opened), max(0, session.expires - now), max(0, session.ends - now),
        max(0, now - session.issued), session.renewals, session.token_id.hex(), session.confirmation.hex(),
        session.address,
    ]  # fmt: skip


def _known(name: str, names: Iterable[str], kind: str) -> str:
    known = list(names)
    if name in known:
        return name
    shown = [each.removeprefix(f"{CLIENT}/") for each in known[:NAMES_SHOWN]]
    there = (
        f"there is {', '.join(shown)}{' and more' if len(known) > NAMES_SHOWN else ''}" if shown else "there is none"
    )
    raise NotFound(f'there is no {kind} "{name.removeprefix(f"{CLIENT}/")}": {there}')
