"""One serial line: frames to listeners, one request at a time, and the exclusive use of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tlsrt import Busy, DeadlineExceeded, InvalidArgument, Unavailable
from tlsrt.loops.third.framing import Framing
from tlsrt.loops.third.listener import Listener

WAITING = 32  # for the line, of all
WAITING_SHARE = 8  # of one caller
WRITE_S = 5.0  # a device that takes nothing for so long, as flow control can have it
LOOK_S = 0.5  # for a device that has gone, of which nothing else tells while no byte comes
SILENCE_S = 0.2  # after which half a frame is no frame any more


class Port(Protocol):
    """The part of a granted device that is needed, `tlsrt.Device`."""

    connections: int

    @property
    def is_present(self) -> bool: ...

    async def present(self) -> None: ...

    async def read(self) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


class Heard(NamedTuple):
    """A frame with its number since the start and when it was whole (wall clock, ms)."""

    number: int
    data: bytes
    wall_ms: int


class SerialLine:
    """A line with all who use it."""

    def __init__(self, name: str, port: Port, framing: Framing, on_presence: Callable[[bool], None]) -> None:
        self.name = name
        self._on_presence = on_presence
        self.port = port
        self.framing = framing
        self.last: Heard | None = None  # of the device that is there now
        self.frames = 0
        self.holder = ""
        self._listeners: set[Listener[Heard | bool]] = set()
        self._turn = asyncio.Lock()
        self._waiting: list[str] = []
        self._told: bool | None = None

    async def pump(self) -> None:
        """Read the line, for ever; it waits while the device is away."""
        connections = self.port.connections
        while True:
            self._tell_presence()
            try:
                async with asyncio.timeout(SILENCE_S if self.framing.is_inside else LOOK_S):
                    data = await self.port.read()
            except TimeoutError:
                if self.port.is_present:
                    self.framing.reset()
                else:
                    await self._wait_for_it()
                continue
            if self.port.connections != connections:  # half a frame of the one before belongs to no other
                connections = self.port.connections
                self.framing.reset()
            self._tell_presence()
            for frame in self.framing.feed(data):
                self.frames += 1
                self.last = Heard(self.frames, frame, time.time_ns() // 1_000_000)
                self._tell(self.last)

    async def _wait_for_it(self) -> None:
        self._tell_presence()
        await self.port.present()

    def _tell_presence(self) -> None:
        is_present = self.port.is_present
        if is_present != self._told:
            if self._told is not None:
                self._tell(is_present)
                self._on_presence(is_present)
            self._told = is_present
            if not is_present:
                self.last = None
                self.framing.reset()

    def _tell(self, item: Heard | bool) -> None:
        for listener in self._listeners:
            listener.put(item)

    def listen(self, capacity: int) -> Listener[Heard | bool]:
        """Begin to listen; give it to `leave` at the end."""
        listener = Listener[Heard | bool](capacity)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener[Heard | bool]) -> None:
        self._listeners.discard(listener)

    def hold(self, caller: str) -> None:
        """Take the line for one caller alone."""
        if self.holder:
            raise Busy(f"line {self.name} is held by {self.holder}")
        self.holder = caller

    def release(self) -> None:
        self.holder = ""

    async def send(self, caller: str, frame: bytes) -> None:
        """Send a frame. Raises Unavailable if the device is away, Busy if another caller holds the line."""
        await self._in_turn(caller, frame, None, 0.0)

    async def request(self, caller: str, frame: bytes, prefix: bytes, timeout_s: float) -> bytes:
        """Send a frame and return the next one that begins with `prefix`. Raises DeadlineExceeded without one."""
        answer = await self._in_turn(caller, frame, prefix, timeout_s)
        assert answer is not None
        return answer

    async def _in_turn(self, caller: str, frame: bytes, prefix: bytes | None, timeout_s: float) -> bytes | None:
        try:
            data = self.framing.encode(frame)
        except ValueError as error:
            raise InvalidArgument(f"data: {error}") from None
        self._check_holder(caller)
        if len(self._waiting) >= WAITING or self._waiting.count(caller) >= WAITING_SHARE:
            raise Busy(f"{WAITING_SHARE} of one caller wait for line {self.name}, or {WAITING} of all: try again later")
        self._waiting.append(caller)
        try:
            async with self._turn:
                self._check_holder(caller)
                return await self._exchange(data, prefix, timeout_s)
        finally:
            self._waiting.remove(caller)

    def _check_holder(self, caller: str) -> None:
        if self.holder not in ("", caller):
            raise Busy(f"line {self.name} is held by {self.holder}: try again when it is free")

    async def _exchange(self, data: bytes, prefix: bytes | None, timeout_s: float) -> bytes | None:
        listener = self.listen(WAITING) if prefix is not None else None
        try:
            try:
                async with asyncio.timeout(WRITE_S):
                    await self.port.write(data)
            except TimeoutError:
                raise Unavailable(f"line {self.name}: the device takes no bytes (flow control?)") from None
            if listener is None:
                return None
            return await self._answer(listener, prefix or b"", timeout_s)
        finally:
            if listener is not None:
                self.leave(listener)

    async def _answer(self, listener: Listener[Heard | bool], prefix: bytes, timeout_s: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    _, item = await listener.take()
                    if item is False:
                        raise Unavailable(f"line {self.name}: the device went away before it answered")
                    if isinstance(item, Heard) and item.data.startswith(prefix):
                        return item.data
        except TimeoutError:
            raise DeadlineExceeded(f"line {self.name}: no answer within {timeout_s:g} s") from None

    def shown(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {
            "name": self.name,
            "is_present": self.port.is_present,
            "connections": self.port.connections,
            "frames": self.frames,
            "damaged": self.framing.damaged,
            "listeners": len(self._listeners),
            "holder": self.holder or None,
        }
