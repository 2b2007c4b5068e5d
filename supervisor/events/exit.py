"""The event of a death: that of a process that was asked to end is told apart from all others."""

from __future__ import annotations

from tlsrt.supervisor.events.bus import EventBus
from tlsrt.supervisor.process.exit_reason import Death


def death_event(bus: EventBus, name: str, death: Death, served_s: float, *, is_wanted: bool, **facts: object) -> None:
    """Emit it. `is_wanted` says that the process was asked to end; one that was killed for being slow is dead, too."""
    facts["served_s"] = round(served_s, 3)
    if is_wanted and death.code == 0:
        bus.emit("ended", name, cause=str(death.cause), **facts)
    else:
        bus.emit("died", name, str(death), cause=str(death.cause), code=death.code, signal=death.signal, **facts)
