"""The five channels: how a loop's frames reach the gate. One per loop, named after it.

A channel is up when Primary is, and down otherwise; that is told by the supervisor, never guessed from ZeroMQ. Going
down closes the socket and reports the frames that were never written; coming up opens a new one.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, Protocol

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.errors import Unavailable


class FrameSender(Protocol):
    """The way out of a component's frames."""

    def send(self, frame: bytes) -> None:
        """Send one sealed frame. Raise Busy when the queue is full and Unavailable when the channel is down."""

    async def wait_for_room(self) -> None:
        """Return when a full queue may take frames again, or the channel has gone down."""


class LoopLink(Protocol):
    """What a channel uses of a link to Primary: `Link`, or `ZmqLink`."""

    @property
    def depth(self) -> int: ...

    @property
    def is_idle(self) -> bool: ...

    async def wait_for_room(self) -> None: ...

    async def wait_until_idle(self) -> None: ...

    def connect(self, directory: str) -> None: ...

    def send(self, frame: bytes) -> None: ...

    def close(self) -> list[bytes]: ...

    def finish(self, timeout_s: float) -> None: ...


class MakeLink(Protocol):
    """Makes a link, not connected yet."""

    def __call__(
        self, batch: WriteBatch, on_frame: Callable[[bytes], None], on_refused: Callable[[str], None], *, queue_max: int
    ) -> LoopLink: ...


class Channel(ABC):
    """A FrameSender, named after its loop."""

    loop: ClassVar[str] = ""
    sent = 0  # frames

    @abstractmethod
    def send(self, frame: bytes) -> None:
        """Send one sealed frame."""

    @abstractmethod
    async def wait_for_room(self) -> None:
        """Return when a full queue may take frames again, or the channel has gone down."""

    @abstractmethod
    async def finish(self, timeout_s: float) -> None:
        """Close for good once the kernel has everything that was sent, or the time is over."""

    @property
    def depth(self) -> int:
        """How many frames wait in our own queue."""
        return 0


class PrimaryChannel(Channel):
    """Primary's own: the gate is in the same process, and checks its frames like all others."""

    loop = "primary"

    def __init__(self, to_gate: Callable[[bytes], object]) -> None:
        self._to_gate = to_gate

    def send(self, frame: bytes) -> None:
        self._to_gate(frame)

    async def wait_for_room(self) -> None:
        """Nothing is queued here."""

    async def finish(self, timeout_s: float) -> None:
        """Nothing waits: a frame is at the gate when it is sent."""


class LinkChannel(Channel):
    """The channel of every other loop: a ZeroMQ link to Primary."""

    def __init__(
        self, make_link: MakeLink, batch: WriteBatch, directory: str, on_frame: Callable[[bytes], None],
        on_refused: Callable[[str], None], *, queue_max: int,
    ) -> None:  # fmt: skip
        self._make_link = make_link
        self._batch = batch
        self._directory = directory
        self._on_frame = on_frame
        self._on_refused = on_refused
        self._queue_max = queue_max
        self._link: LoopLink | None = None

    def open(self) -> None:
        """Connect to the Primary that has come up."""
        self.close()
        self._link = self._make_link(self._batch, self._on_frame, self._on_refused, queue_max=self._queue_max)
        self._link.connect(self._directory)

    def close(self) -> list[bytes]:
        """Disconnect; return the frames that were never written."""
        link, self._link = self._link, None
        return link.close() if link else []

    async def finish(self, timeout_s: float) -> None:
        """As the base says. With libzmq the event loop stands still at the end, while its thread writes."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        if self._link is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    await self._link.wait_until_idle()
        link, self._link = self._link, None
        if link is not None:
            link.finish(max(0.0, end - loop.time()))

    def send(self, frame: bytes) -> None:
        if self._link is None:
            raise Unavailable("the primary loop is down")
        self._link.send(frame)
        self.sent += 1

    async def wait_for_room(self) -> None:
        if self._link is not None:
            await self._link.wait_for_room()

    @property
    def depth(self) -> int:
        return self._link.depth if self._link else 0


class SecondaryChannel(LinkChannel):
    """OS services and AI."""

    loop = "secondary"


class ThirdChannel(LinkChannel):
    """I/O and UI."""

    loop = "third"


class ForthChannel(LinkChannel):
    """Power management."""

    loop = "forth"


class ExternalChannel(LinkChannel):
    """Network, messaging and calling."""

    loop = "external"


class DeclaredChannel(LinkChannel):
    """A loop that the operator declared."""


LINK_CHANNELS: dict[str, type[LinkChannel]] = {
    kind.loop: kind for kind in (SecondaryChannel, ThirdChannel, ForthChannel, ExternalChannel)
}
