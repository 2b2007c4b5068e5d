"""A process whose egress rules have names begins when these are known, or after a while without.

A library that does not find its server as it starts often does not try again. So components are started once each name
was asked for; a name server that is away holds a start up for two seconds, and no restart afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.supervisor.supervision.context import Context

MOST_S = 2.0
_AGAIN_S = 0.02


class NameWait:
    """Tells who has to wait; `again` is called when it may be over."""

    def __init__(self, context: Context, again: Callable[[], None]) -> None:
        self._context = context
        self._again = again
        self._since: dict[str, tuple[int, float]] = {}  # process -> incarnation, when that was ready
        self._is_coming = False

    def holds(self, process: str, incarnation: int) -> bool:
        """Tell whether a process that is ready has to wait for its names."""
        current = self._context.current
        names = {rule.name for rule in current.config.names_of(process)}
        now = self._context.event_loop.now
        if names <= current.children.pins.settled:
            return False
        if self._since.get(process, (-1, now))[0] != incarnation:
            self._since[process] = incarnation, now
        if now - self._since[process][1] >= MOST_S:
            current.children.pins.settled.update(names)  # it has waited for them once
            return False
        if not self._is_coming:
            self._is_coming = True
            self._context.event_loop.call_later(_AGAIN_S, self._come)
        return True

    def _come(self) -> None:
        self._is_coming = False
        self._again()
