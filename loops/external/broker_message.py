"""What an MQTT broker sends, and what it is asked for. No library of MQTT is needed for it."""

from __future__ import annotations

from typing import NamedTuple


class Received(NamedTuple):
    """A message of the broker; `mid` is 0 for one that wants no acknowledgement, `connection` the one it came by."""

    topic: str
    payload: bytes
    mid: int
    is_repeated: bool
    is_retained: bool
    connection: int
    response_topic: str = ""  # where its writer would have an answer
    correlation: bytes | None = None  # by which its writer knows what an answer is to


class Subscription(NamedTuple):
    """What to subscribe to: `qos` 0 or 1, and whether the broker sends what it has retained."""

    filter: str
    qos: int
    wants_retained: bool = False


def matches(filter: str, topic: str) -> bool:
    """Tell whether a filter with + and # takes a topic. MQTT 5, section 4.7."""
    wanted, levels = filter.split("/"), topic.split("/")
    if topic.startswith("$") and not filter.startswith("$"):
        return False
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(levels) or level not in ("+", levels[place]):
            return False
    return len(wanted) == len(levels)
