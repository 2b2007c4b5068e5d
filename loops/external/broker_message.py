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


class Subscription(NamedTuple):
    """What to subscribe to: `qos` 0 or 1, and whether the broker sends what it has retained."""

    filter: str
    qos: int
    wants_retained: bool = False
