"""State machines as Mermaid figures, from their tables."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from tlsrt.loops.door.client_connection import STAGES as DOOR
from tlsrt.loops.door.locked_door import STAGES as LOCKED_DOOR
from tlsrt.supervisor.authority.sessions.states import TABLE as SESSION
from tlsrt.supervisor.supervision.states import TRANSITIONS as LOOP

State = TypeVar("State", bound=Enum)
Event = TypeVar("Event", bound=str)


def body() -> str:
    return "\n\n".join(
        (
            f"## A supervised process\n\n{figure(LOOP)}",
            f"## A session\n\n{figure(SESSION)}",
            f"## A client's connection at the door\n\n{figure(DOOR)}",
            f"## A connection at the door of a locked host\n\n{figure(LOCKED_DOOR)}",
        )
    )


def figure(transitions: Mapping[tuple[State, Event], State]) -> str:
    """Return a figure; events between the same two states share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), following in transitions.items():
        word = str(event.value if isinstance(event, Enum) else event)
        arrows.setdefault((str(state.value), str(following.value)), []).append(word)
    lines = [f"    {start} --> {end}: {', '.join(events)}" for (start, end), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])
