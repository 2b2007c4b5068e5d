"""Asks: what processes have asked of the supervisor, bounded for each of them, and recorded before it is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tlsrt.rate_limit import Buckets
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Answer, Reply
from tlsrt.supervisor.supervision.loop import Loop


class AuditRequests(Protocol):
    """The way to the audit log, through the authority."""

    def ask(self, reply: Reply, document: Callable[[int, list[Any]], Answer], name: str, *fields: object) -> None: ...


class Asks:
    """Asks of one kind, of all processes: `name` is that of the record."""

    def __init__(
        self, context: Context, audit: AuditRequests, name: str, *, waiting: int, at_once: int, per_s: float
    ) -> None:
        self._context = context
        self._audit = audit
        self._name = name
        self._most = waiting
        self._rates = Buckets(at_once, per_s)
        self._waiting: dict[str, int] = {}  # process -> asks that are not answered

    def admits(self, loop: Loop) -> bool:
        """Tell whether a process may ask for something now; it is charged for it."""
        waits = self._waiting.get(loop.name, 0)
        return waits < self._most and self._rates.take(loop.name, self._context.event_loop.now)

    def record(self, loop: Loop, then: Callable[[bool], None], *fields: object) -> None:
        """Have it recorded. `then` hears whether it may be done: the log has it, and who asked is there still."""
        self.record_named(loop, lambda is_recorded, rows: then(is_recorded), *fields)

    def record_named(self, loop: Loop, then: Callable[[bool, list[Any]], None], *fields: object) -> None:
        """Have it recorded, as `record`. `then` also gets what the authority has answered with."""
        incarnation = loop.incarnation
        self._waiting[loop.name] = self._waiting.get(loop.name, 0) + 1

        def recorded(answer: Answer) -> None:
            is_same = loop.incarnation == incarnation and loop.is_living
            then(answer.get("code") == ResultCode.DONE and is_same, answer.get("rows", []))

        self._audit.ask(recorded, lambda code, rows: {"code": code, "rows": rows}, self._name, *fields)

    def record_only(self, *fields: object) -> None:
        """Have something recorded that nothing waits for."""
        self._audit.ask(lambda answer: None, lambda code, rows: {"code": code}, self._name, *fields)

    def ended(self, loop: Loop) -> None:
        """Take note that an ask which was recorded has ended."""
        self._waiting[loop.name] -= 1
