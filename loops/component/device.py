"""A device of a component: opened and set outside, lost when it is unplugged, and there again by itself.

What a component gets is the one descriptor, which it can read, write and wait for; it can change no setting of the
device. All that waits here waits in the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
from collections.abc import AsyncIterator, Callable
from typing import Literal

from tlsrt.errors import Denied, MisuseError, Unavailable

READ_BYTES = 64 * 1024
_GONE = frozenset({errno.EIO, errno.ENODEV, errno.ENXIO, errno.EPIPE, errno.ESHUTDOWN, errno.EPROTO})


class Device:
    """A device that the manifest or configuration names under `needs: devices`. Get it by `self.device("line")`.

        async def listen(self):
            async for data in self.device("line"):  # goes on after the device was unplugged and came again
                self.publish("reading", data)

    `connections` counts how often it has come: when it differs from what it was, the other side may have begun anew.
    """

    def __init__(self, name: str, mode: Literal["r", "rw"], on_lost: Callable[[], None], path: str = "") -> None:
        self.name = name
        self.mode = mode
        self.path = path  # that of the grant; a library that opens it gets a copy of the descriptor
        self.number = -1  # st_rdev of the one that came last
        self.connections = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_lost = on_lost
        self._descriptor = -1
        self._coming = asyncio.Event()
        self._waiting: dict[bool, asyncio.Future[None]] = {}  # whether for room to write

    @property
    def is_present(self) -> bool:
        """Whether it is there now."""
        return self._descriptor >= 0

    async def present(self) -> None:
        """Wait until it is there."""
        await self._coming.wait()

    @property
    def descriptor(self) -> int:
        """Its descriptor as `fileno` gives it, or -1."""
        return self._descriptor

    def fileno(self) -> int:
        """Return its descriptor, which does not block; another one after it was lost. Raises Unavailable."""
        if not self.is_present:
            raise Unavailable(f"device {self.name} is not there")
        return self._descriptor

    async def read(self, most: int = READ_BYTES) -> bytes:
        """Return what has come, at least one byte; waits for that, and for a device that is away."""
        while True:
            await self._coming.wait()
            try:
                data = os.read(self._descriptor, most)
            except BlockingIOError:
                await self._ready(writes=False)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self._lose()
            else:
                if data:
                    return data
                self._lose()  # it has hung up

    async def write(self, data: bytes) -> None:
        """Write all of `data`. Raises Unavailable if the device is not there, or goes before all is written."""
        if self.mode == "r":
            raise Denied(f"device {self.name} is granted to read only: say `mode: rw`")
        rest, connection = memoryview(data), self.connections
        while rest:
            if not self.is_present or self.connections != connection:
                raise Unavailable(f"device {self.name} is not there")
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await self._ready(writes=True)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self._lose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give what comes, for ever: it waits while the device is away."""
        while True:
            yield await self.read()

    async def _ready(self, *, writes: bool) -> None:
        """Wait until the descriptor can be read or written, or is lost."""
        if writes in self._waiting:
            what = "written" if writes else "read"
            raise MisuseError(f"device {self.name} is being {what} already: one task at a time may")
        loop, descriptor = asyncio.get_running_loop(), self._descriptor
        done = self._waiting[writes] = loop.create_future()
        add, remove = (loop.add_writer, loop.remove_writer) if writes else (loop.add_reader, loop.remove_reader)
        try:
            add(descriptor, _wake, done)
            await done
        finally:
            del self._waiting[writes]
            if self._descriptor == descriptor:
                remove(descriptor)

    def _lose(self) -> None:
        loop = asyncio.get_running_loop()
        descriptor, self._descriptor = self._descriptor, -1
        self._coming.clear()
        loop.remove_reader(descriptor)
        loop.remove_writer(descriptor)
        os.close(descriptor)
        for done in self._waiting.values():
            _wake(done)
        self._on_lost()


def arrive(device: Device, descriptor: int) -> None:
    """Give a device its descriptor, which is its from here on; the runtime does this."""
    if device.is_present:
        os.close(descriptor)
        return
    device._descriptor = descriptor
    device._loop = asyncio.get_running_loop()
    device.number = os.fstat(descriptor).st_rdev
    device.connections += 1
    device._coming.set()


def is_gone(device: Device) -> bool:
    """Say whether it has hung up, and have it lost then: perhaps only a library reads it. From any thread."""
    if (descriptor := device.descriptor) < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, 0)
    if not poll.poll(0):  # POLLERR, POLLHUP and POLLNVAL are told unasked
        return False
    if device._loop is not None:
        device._loop.call_soon_threadsafe(_lose_if, device, descriptor)
    return True


def _lose_if(device: Device, descriptor: int) -> None:
    if device.descriptor == descriptor:
        device._lose()


def _wake(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
