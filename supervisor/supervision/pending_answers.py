"""Pending answers: each reply is given exactly once, at a deadline at the latest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from tlsrt.supervisor.process.event_loop import EventLoop, Timer
from tlsrt.supervisor.supervision.feature import Answer, Reply

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class _Pending(Generic[State]):
    reply: Reply
    state: State
    timer: Timer | None


class PendingAnswers(Generic[State]):
    """Replies by number, in the order of the requests, each with what its owner notes about it."""

    def __init__(self, event_loop: EventLoop) -> None:
        self._event_loop = event_loop
        self._last = 0
        self._pending: dict[int, _Pending[State]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def items(self) -> Iterator[tuple[int, State]]:
        """Return the numbers that wait, with their states; they may be answered meanwhile."""
        return iter([(number, pending.state) for number, pending in self._pending.items()])

    def get(self, number: int) -> State | None:
        """Return the state of a number; None if it does not wait."""
        pending = self._pending.get(number)
        return pending.state if pending is not None else None

    def hold(self, reply: Reply, state: State, *, longest_s: float | None = None, late: Answer | None = None) -> int:
        """Keep a reply and return its number; after `longest_s` seconds, if any, it gets `late`."""
        self._last += 1
        number = self._last
        timer = None
        if longest_s is not None:
            timer = self._event_loop.call_later(longest_s, lambda: self.answer(number, late or {}))
        self._pending[number] = _Pending(reply, state, timer)
        return number

    def answer(self, number: int, answer: Answer) -> None:
        """Give the answer; a number that does not wait has got one."""
        pending = self._pending.pop(number, None)
        if pending is None:
            return
        if pending.timer is not None:
            pending.timer.cancel()
        pending.reply(answer)

    def answer_all(self, answer: Answer) -> None:
        """Give the same answer to all that wait."""
        for number in list(self._pending):
            self.answer(number, answer)
