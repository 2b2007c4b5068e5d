"""What the loops say of their components: kept for status, told on the console, and the end of a loop if so configured.

A loop is believed in this: what it says can only end itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tlsrt.channels.control.health import HealthOutcome, Readiness
from tlsrt.config.components import ComponentConfig
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.loop import Checked, ComponentState, Loop

LINES, LINES_PER_S = 10, 0.2  # on the console, of one loop: it could change its mind with every record


def read_untrusted(components: Sequence[ComponentConfig], fields: Sequence[Any], now: float) -> tuple[int, Checked]:
    """Return which component a `health` record is about, and what it says; raise PeerError if that makes no sense."""
    index, code, fails = fields
    if index >= len(components) or code not in list(HealthOutcome) or (fails == 0) != (code == HealthOutcome.GOOD):
        raise PeerError("bad_health")
    return index, Checked(HealthOutcome(code), fails, now)


def state_untrusted(components: Sequence[ComponentConfig], fields: Sequence[Any]) -> tuple[int, ComponentState]:
    """Return which component a `component` record is about, and what it says; raise PeerError if it makes no sense."""
    index, readiness, tasks, restarts = fields
    if index >= len(components) or readiness not in list(Readiness):
        raise PeerError("bad_component")
    return index, ComponentState(Readiness(readiness), tasks, restarts)


class ComponentHealth:
    """Takes the records; `restart` ends a loop, with a sentence."""

    def __init__(self, context: Context, restart: Callable[[Loop, str], None]) -> None:
        self._context = context
        self._restart = restart
        self._allowances: dict[str, Bucket] = {}

    def heard_untrusted(self, loop: Loop, fields: Sequence[Any]) -> None:
        """Take one record of a loop; raise PeerError for one that makes no sense."""
        components = self._context.current.config.components_of(loop.name)
        index, checked = read_untrusted(components, fields, self._context.event_loop.now)
        component = components[index]
        was_unwell = _is_unwell(component, loop.process.checked.get(index))
        loop.process.checked[index] = checked
        if not _is_unwell(component, checked):
            if was_unwell and checked.outcome is HealthOutcome.GOOD:
                self._say(loop, "well", component, component.address)
            return
        times = f"{checked.fails} check{'s' if checked.fails > 1 else ''} in a row"
        how = "were not answered in time" if checked.outcome is HealthOutcome.TIMED_OUT else "failed"
        sentence = f"{times} of {component.address} {how}, see {loop.log_path}"
        if not was_unwell:
            self._say(loop, "unwell", component, sentence)
        if component.health.then == "restart":
            self._restart(loop, f"health: {sentence}")

    def state_heard_untrusted(self, loop: Loop, fields: Sequence[Any]) -> None:
        """Take what a component says of itself; raise PeerError for a record that makes no sense. Nothing follows."""
        components = self._context.current.config.components_of(loop.name)
        index, state = state_untrusted(components, fields)
        before = loop.process.components.get(index, ComponentState())
        loop.process.components[index] = state
        if state.readiness is Readiness.NOT_READY and before.readiness is not Readiness.NOT_READY:
            text = f"{components[index].address} is not ready, see {loop.log_path}"
            self._say(loop, "unready", components[index], text)
        elif state.readiness is Readiness.READY and before.readiness is Readiness.NOT_READY:
            self._say(loop, "ready", components[index], components[index].address)

    def _say(self, loop: Loop, word: str, component: ComponentConfig, text: str) -> None:
        now = self._context.event_loop.now
        allowance = self._allowances.setdefault(loop.name, Bucket(LINES, LINES_PER_S))
        if allowance.take(now):
            say = self._context.console.good if word in ("well", "ready") else self._context.console.bad
            say(loop.name, word, text)
            self._context.events.emit("component_health", component.address, text, health=word)


def _is_unwell(component: ComponentConfig, checked: Checked | None) -> bool:
    return checked is not None and checked.fails >= component.health.fails
