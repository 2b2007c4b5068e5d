"""The verbs `lock` and `unlock` of the control socket.

A lock is in force here before the authority has heard of it: Primary is killed first. The answer says whether it is on
the disk. An unlock is answered when the door serves again, or is not going to for a while.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.control.lock import LockWatch
from tlsrt.supervisor.control.lock_report import Document
from tlsrt.supervisor.control.session_requests import SessionRequests
from tlsrt.supervisor.messages.lock_record import LOCK_BYTES, new_record
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, Reply, Verb
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops

OPERATOR = "operator"
SERVES_S = 30.0  # for the fresh Primary to serve
TEXT_MAX = 4096
_AWAY = "the authority is not running now; it is told when it comes again, and writes it then"


class LockVerbs(Feature):
    """All requests of one life."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, watch: LockWatch, requests: SessionRequests
    ) -> None:
        self._context = context
        self._loops = loops
        self._authority = authority
        self._watch = watch
        self._requests = requests
        self._waiting: list[tuple[int, Reply, Timer]] = []  # incarnation of Primary before

    def verbs(self) -> Mapping[str, Verb]:
        return {"lock": Verb(self.lock), "unlock": Verb(self.unlock)}

    def lock(self, request: Mapping[str, object], reply: Reply) -> None:
        """Lock; `reason` is text."""
        reason = request.get("reason", "")
        if not isinstance(reason, str) or len(reason) > TEXT_MAX:
            reply({"error": "bad_request"})
            return
        if self._watch.record is not None:
            reply({"lock": self._watch.document(), "already": True})
            return
        record = new_record(secrets.token_bytes(LOCK_BYTES), reason, OPERATOR, time.time_ns() // 1_000_000)
        self._watch.lock(record)

        def answered(answer: Document) -> None:
            note = answer.get("unavailable", [])
            reply({"lock": self._watch.document(), "already": False, "notes": note})

        if self._authority.is_booted:
            self._requests.lock(record, answered, lambda code, rows: {})
        else:
            answered({"unavailable": [_AWAY]})

    def unlock(self, request: Mapping[str, object], reply: Reply) -> None:
        """Unlock."""
        began = self._context.event_loop.now
        incarnation = self._loops.all[0].incarnation
        self._requests.unlock(OPERATOR, partial(self._unlocked, reply, incarnation, began), _outcome)

    def loop_changed(self, loop: Loop) -> None:
        self._look()

    def _look(self) -> None:
        """Answer the unlocks whose door serves again."""
        primary = self._loops.all[0]
        if primary.state is LoopState.ACTIVE and not self._loops.is_locked:
            self._end(lambda incarnation: primary.incarnation > incarnation, serves=True)

    def stopping(self) -> None:
        self._end(lambda incarnation: True, serves=False)

    def _unlocked(self, reply: Reply, incarnation: int, began: float, answer: Document) -> None:
        if "unlocked" not in answer:
            reply(answer)
            return

        def done(document: dict[str, object]) -> None:
            took_ms = round((self._context.event_loop.now - began) * 1000)
            reply({**answer, **document, "epoch": self._authority.epoch, "took_ms": took_ms})

        timer = self._context.event_loop.call_later(
            SERVES_S, lambda: self._end(lambda number: number == incarnation, serves=False)
        )
        self._waiting.append((incarnation, done, timer))
        self._look()

    def _end(self, chosen: Callable[[int], bool], *, serves: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            if not chosen(entry[0]):
                self._waiting.append(entry)
                continue
            entry[2].cancel()
            entry[1]({"serves": serves})


def _outcome(code: int, rows: list[Any]) -> Document:
    if code == ResultCode.DONE:
        return {"unlocked": True}
    return {"refused" if code == ResultCode.REFUSED else "unavailable": [str(row) for row in rows]}
