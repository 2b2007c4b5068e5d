"""What the supervisor tells a process on its life channel, each message to what carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tlsrt.channels.control.life import LoopState
from tlsrt.channels.control.seqpacket import ControlChannel

Order = Callable[[Any, Sequence[int]], None]  # with the fields of the message, and its descriptors
Orders = Mapping[str, Order]


class LifeOrders:
    """Reads the life channel."""

    def __init__(self, life: ControlChannel, state: Callable[[], LoopState], orders: Orders) -> None:
        self._life = life
        self._state = state
        self._orders = orders

    def read(self) -> None:
        """Carry out what has come. Raises PeerError as the channel does, and for what this process has not."""
        while (message := self._receive()) is not None:
            name, fields, descriptors = message
            self._orders[name](fields, descriptors)

    def _receive(self) -> tuple[str, Any, list[int]] | None:
        return self._life.receive("supervisor", self._state(), descriptors=True)
