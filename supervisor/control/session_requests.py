"""The supervisor's part of `sessions`, `revoke` and `restore`: it carries words to the authority, and the answer back.

It decides nothing. Who may ask is the control socket's rule; what is known by which name is the authority's knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tlsrt.channels.control.authority_channel import AnswerMessage
from tlsrt.supervisor.control.session_report import Document, report_of, sessions_of
from tlsrt.supervisor.messages.lock_record import LockRecord
from tlsrt.supervisor.messages.result_codes import KINDS, LONGEST_MS, RESTORED_KINDS
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, MessageHandler, Reply, Verb

ANSWER_S = 8.0  # the authority answers in milliseconds, or when an epoch has moved, which takes 5 s at the most
NAME_MAX = 200
_AWAY = (
    "the authority is not running now: while it is away no session is opened, and after 3 s every message is refused"
)


@dataclass(slots=True)
class _Pending:
    reply: Reply
    finish: Callable[[int, list[Any]], Document]
    timer: Timer
    rows: list[Any] = field(default_factory=list[Any])


class SessionRequests(Feature):
    """What operators are waiting for."""

    def __init__(self, context: Context, authority: AuthorityProcess) -> None:
        self._context = context
        self._authority = authority
        self._number = 0
        self._pending: dict[int, _Pending] = {}

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"answer": self._answered}

    def verbs(self) -> Mapping[str, Verb]:
        return {"sessions": Verb(self.sessions), "revoke": Verb(self.revoke), "restore": Verb(self.restore)}

    def sessions(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for all sessions and for all that is revoked."""
        self.ask(reply, lambda code, rows: sessions_of(rows, self._authority.unwritten), "sessions", b"")

    def revoke(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for a revocation: `kind`, `what`, `for_ms`."""
        kind, what, for_ms = request.get("kind"), request.get("what", ""), request.get("for_ms", 0)
        if kind not in KINDS or not _is_name(what) or type(for_ms) is not int or not 0 <= for_ms <= LONGEST_MS:
            reply({"error": "bad_request"})
            return
        self.ask(reply, report_of, "revoke", kind, what, for_ms)

    def restore(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for the end of a revocation: `kind`, `what`."""
        kind, what = request.get("kind"), request.get("what")
        if kind not in RESTORED_KINDS or not _is_name(what):
            reply({"error": "bad_request"})
            return
        self.ask(reply, report_of, "restore", kind, what)

    def lock(self, record: LockRecord, reply: Reply, finish: Callable[[int, list[Any]], Document]) -> None:
        """Ask for a lock."""
        self.ask(reply, finish, "lock", *record)

    def unlock(self, by: str, reply: Reply, finish: Callable[[int, list[Any]], Document]) -> None:
        """Ask for the end of the lock."""
        self.ask(reply, finish, "unlock", by)

    def authority_lost(self) -> None:
        """Answer all: what the authority was asked has no answer, and how much of it was done is unknown."""
        for number in list(self._pending):
            self._end(
                number, {"unavailable": ["the authority died before it answered: look with `sessions`, and ask again"]}
            )

    def stopping(self) -> None:
        for number in list(self._pending):
            self._end(number, {"error": "stopping"})

    def ask(self, reply: Reply, finish: Callable[[int, list[Any]], Document], name: str, *fields: object) -> None:
        """Send a message, with the number of the request before its fields; answer with what `finish` makes."""
        self._number += 1
        number = self._number
        if not self._authority.client.ask(name, number, *fields):
            reply({"unavailable": [_AWAY]})
            return
        timer = self._context.event_loop.call_later(
            ANSWER_S, lambda: self._end(number, {"unavailable": [f"the authority did not answer in {ANSWER_S:g} s"]})
        )
        self._pending[number] = _Pending(reply, finish, timer)

    def _answered(self, message: AnswerMessage) -> None:
        number, code, more, rows = message
        pending = self._pending.get(number)
        if pending is None:
            return  # it came too late
        pending.rows += rows
        if more and self._authority.client.ask("sessions", number, bytes.fromhex(rows[-1][1])):
            return
        self._end(number, pending.finish(code, pending.rows))

    def _end(self, number: int, answer: Document) -> None:
        pending = self._pending.pop(number)
        pending.timer.cancel()
        pending.reply(answer)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= NAME_MAX
