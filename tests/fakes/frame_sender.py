"""A channel that hands every frame to a function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class FakeChannel:
    """A FrameSender. Where the function raises Busy, there is room again in the next turn."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send

    def send(self, frame: bytes) -> None:
        self._send(frame)

    async def wait_for_room(self) -> None:
        await asyncio.sleep(0)
