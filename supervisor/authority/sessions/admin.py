"""What an operator asks of the authority: which sessions there are, and to revoke and restore. In words, and pure.

Every request has a number, and is answered by `answer` with that number, a code and rows. Lists come in pages: whoever
asks for the next one names the last id of this one, so that nothing has to wait in the channel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tlsrt.channels.control.authority_channel import RestoreMessage, RevokeMessage, SessionsMessage
from tlsrt.config.schema import Config
from tlsrt.errors import NotFound
from tlsrt.supervisor.authority.epoch_change import EpochChanges
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.services import NoRecorder, Recorder
from tlsrt.supervisor.authority.sessions.manager import CLIENT, ID_BYTES, Session, SessionManager
from tlsrt.supervisor.authority.sessions.revocation import RevocationOutcome, Revocations
from tlsrt.supervisor.messages.result_codes import ROWS_MAX, ResultCode

ID_LEAST = 4  # hex digits of an id
NAMES_SHOWN = 20
_ID = re.compile(rf"[0-9a-f]{{{ID_LEAST},{2 * ID_BYTES}}}")

Row = list[object]
Revoke = Callable[[int, list[Row], int, int], None]  # request, rows that come first, now, wall


class SessionAdmin:
    """Answers the operator. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(
        self, config: Config, manager: SessionManager, revoking: Revocations, changes: EpochChanges, outlet: Outgoing
    ) -> None:
        self._manager = manager
        self._revoking = revoking
        self._changes = changes
        self._outlet = outlet
        self._components = [component.address for component in config.components]
        self._listed = [f"{CLIENT}/{client.name}" for client in config.clients]
        self.audit: Callable[[], Recorder] = NoRecorder
        self.enrolled: Callable[[], list[str]] = list  # the subjects of clients that the configuration does not list
        self._loops = [loop.name for loop in config.loops]
        self.handlers: dict[str, Callable[[Any, int, int], None]] = {
            "sessions": self._sessions,
            "revoke": self._revoke,
            "restore": self._restore,
        }

    def _sessions(self, message: SessionsMessage, now: int, wall: int) -> None:
        """Answer with the sessions whose ids follow one; the last page has the revoked subjects, too."""
        number, after = message
        following = sorted((s for s in self._manager if s.session_id > after), key=lambda s: s.session_id)
        rows = [_row(session, now) for session in following[:ROWS_MAX]]
        more = len(following) > ROWS_MAX
        if not more:
            shut = sorted(self._revoking.subjects().items())[: ROWS_MAX * 4]
            rows += [["revoked", subject, max(0, when - wall) if when else 0, int(not when)] for subject, when in shut]
        self._outlet.tell("answer", number, int(ResultCode.DONE), int(more), rows)

    def _revoke(self, message: RevokeMessage, now: int, wall: int) -> None:
        """Record it, revoke, and answer with who was hit. What cannot be recorded is done all the same, and said."""
        number, kind, what, for_ms = message
        try:
            subject, revoke = self._plan(kind, what, for_ms)
        except NotFound as error:
            self._refuse(number, error.message)
            return
        self.audit().before(
            "revoke", subject, {"kind": kind, "for_ms": for_ms}, now, wall, lambda: revoke(number, [], now, wall),
            lambda sentence: revoke(number, [["unrecorded", sentence]], now, wall),
        )  # fmt: skip

    def _restore(self, message: RestoreMessage, now: int, wall: int) -> None:
        """Let a component, the components of a loop or a client in again."""
        number, kind, what = message
        try:
            subjects = [name for name in self._subjects(kind, what) if name in self._revoking.subjects()]
            if not subjects:
                raise NotFound(f"{kind} {what} is not revoked")
        except NotFound as error:
            self._refuse(number, error.message)
            return
        self.audit().before(
            "restore", f"{kind} {what}", {"subjects": len(subjects)}, now, wall,
            lambda: self._restored(number, subjects, now),
            lambda sentence: self._refuse(number, f"{sentence}, so nothing has changed", ResultCode.UNCHANGED),
        )  # fmt: skip

    def _restored(self, number: int, subjects: Sequence[str], now: int) -> None:
        if self._revoking.restore(subjects, now):
            self._outlet.tell("answer", number, int(ResultCode.DONE), 0, [["subject", name, 0] for name in subjects])
        else:
            sentence = "the authority's state cannot be written, so nothing has changed: make room on its disk"
            self._refuse(number, sentence, ResultCode.UNCHANGED)

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
            end = self._revoking.revoke_session if is_session else self._revoking.revoke_token
            return f"{kind} {found.hex()}", lambda number, rows, now, wall: self.tell(
                number, end(found, now, wall), rows
            )
        subjects = self._subjects(kind, what)
        named: list[Row] = [["subject", name, for_ms] for name in subjects]
        return f"{kind} {what}", lambda number, rows, now, wall: self.tell(
            number, self._revoking.revoke_subjects(subjects, for_ms, now, wall), [*named, *rows]
        )

    def _revoke_all(self, number: int, rows: list[Row], now: int, wall: int) -> None:
        outcome = self._revoking.revoke_all(now, wall)
        if outcome.is_stored:
            self._changes.leave(now, lambda epoch: self.tell(number, outcome, [["epoch", epoch], *rows]))
        else:  # the epoch moves when it can be written
            self._changes.leave(now, lambda epoch: None)
            self.tell(number, outcome, rows)

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
            return [_known(what, self._components, kind)]
        if kind == "client":
            return [_known(f"{CLIENT}/{what}", [*self._listed, *self.enrolled()], kind)]
        if kind == "loop":
            loop = _known(what, self._loops, kind)
            return [address for address in self._components if address.partition("/")[0] == loop]
        raise NotFound(f"the authority knows no {kind} that can be revoked")

    def tell(self, number: int, outcome: RevocationOutcome, rows: list[Row]) -> None:
        """Answer with what has ended."""
        ended = outcome.ended
        rows += [["count", len(ended)]]
        rows += [["session", each.session_id.hex(), each.subject, each.owner] for each in ended[:ROWS_MAX]]
        self._outlet.tell(
            "answer", number, int(ResultCode.DONE if outcome.is_stored else ResultCode.UNWRITTEN), 0, rows
        )

    def _refuse(self, number: int, sentence: str, code: ResultCode = ResultCode.REFUSED) -> None:
        self._outlet.tell("answer", number, int(code), 0, [sentence])


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
