"""Serial lines: what devices say to all who listen, requests with answers, and a line for one caller alone.

A line is a granted device: it is opened and set (baud, parity, flow) outside of this process, comes again by itself
after it was unplugged, and is found by a path that stays, as those below /dev/serial/by-id.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal

from tlsrt import (
    BoundedTable,
    Busy,
    Component,
    ConfigError,
    Denied,
    Length,
    MisuseError,
    NotFound,
    Range,
    WhenFull,
    handler,
)
from tlsrt.loops.third.content import as_bytes_untrusted
from tlsrt.loops.third.framing import Cobs, Framing, LengthPrefixed, Slip, TextLines
from tlsrt.loops.third.listener import Listener
from tlsrt.loops.third.serial_line import Heard, SerialLine

LINES = 16
LISTENERS = 64
LISTENERS_SHARE = LISTENERS // 4  # of one caller
QUEUE = 256  # items that wait for one listener at most

Name = Annotated[str, Length(64, 1)]
Data = Annotated[str, Length(65536)] | Annotated[bytes, Length(65536)]
Subjects = Annotated[tuple[str, ...], Length(64)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LineOptions:
    """How a device speaks, and who may listen and write."""

    framing: Literal["lines", "length", "slip", "cobs"] = "lines"
    delimiter: Annotated[str, Length(8, 1)] = "\n"  # of lines
    length_bytes: Literal[1, 2, 4] = 2
    order: Literal["big", "little"] = "big"
    frame_bytes: Annotated[int, Range(1, 65536)] = 1024
    text: bool = True  # frames of `lines` are text, as UTF-8
    readers: Subjects = ("*",)  # of those whom policy lets call; a writer reads as well
    writers: Subjects = ("*",)

    def make(self) -> Framing:
        """Return a framing that has read nothing."""
        if self.framing == "lines":
            return TextLines(self.delimiter.encode(), self.frame_bytes)
        if self.framing == "length":
            return LengthPrefixed(self.length_bytes, self.order, self.frame_bytes)
        return Slip(self.frame_bytes) if self.framing == "slip" else Cobs(self.frame_bytes)

    def shown(self, frame: bytes) -> str | bytes:
        """Return a frame as callers get it; bytes that are no UTF-8 stand as \\xNN in text."""
        return frame.decode("utf-8", "backslashreplace") if self.text and self.framing == "lines" else frame


class Serial(Component):
    """Granted serial lines."""

    class Options:
        """Options: the lines."""

        lines: Annotated[dict[str, LineOptions], "Lines by the name of the device under `needs: devices`."]

        def __post_init__(self) -> None:
            if not 0 < len(self.lines) <= LINES:
                raise ValueError(f"lines: name 1 to {LINES} devices")

    topics = {"presence": "a device came or went: line, is_present"}  # noqa: RUF012

    async def start(self) -> None:
        self._lines: dict[str, SerialLine] = {}
        self._listeners: BoundedTable[Listener[Heard | bool], None] = BoundedTable(
            LISTENERS, LISTENERS_SHARE, WhenFull.REFUSE
        )
        for name, options in self.options.lines.items():
            try:
                device = self.device(name)
            except MisuseError:
                raise ConfigError(
                    f"line {name}: no device of this name is granted; put it under `needs: devices`"
                ) from None
            self._lines[name] = line = SerialLine(name, device, options.make(), partial(self._tell_presence, name))
            self.spawn(line.pump, name=f"reads {name}")

    def _tell_presence(self, name: str, is_present: bool) -> None:
        self.publish("presence", {"line": name, "is_present": is_present})
        self.count("came" if is_present else "went")

    def _options(self, name: str) -> LineOptions:
        options: LineOptions = self.options.lines[name]
        return options

    def _line(self, name: str, *, write: bool = False) -> SerialLine:
        """Return a line that the caller may use so. Raises a CallError."""
        line = self._lines.get(name)
        if line is None or not self._may(name, write=False):
            raise NotFound(f"no line {name}; `list` shows those that you may listen to")
        if write and not self._may(name, write=True):
            raise Denied(f"{self.caller} may not write to line {name}")
        return line

    def _may(self, name: str, *, write: bool) -> bool:
        options = self._options(name)
        lists = [options.writers] if write else [options.writers, options.readers]
        return any(self.caller in one or "*" in one for one in lists)

    @handler(idempotent=True)
    async def list(self) -> list[dict[str, Any]]:
        """Lines: whether the device is there, how often it came, frames and damaged ones, listeners, who holds it."""
        return [
            {**line.shown(), "framing": self._options(name).framing, "can_write": self._may(name, write=True)}
            for name, line in self._lines.items()
            if self._may(name, write=False)
        ]

    @handler(idempotent=True)
    async def last(self, line: Name) -> dict[str, Any] | None:
        """The last frame: number, data, wall_ms; null if none came since the device is there, or it is away."""
        heard = self._line(line).last
        return self._shown(line, heard) if heard is not None and self._lines[line].port.is_present else None

    def _shown(self, line: str, heard: Heard) -> dict[str, Any]:
        return {"number": heard.number, "data": self._options(line).shown(heard.data), "wall_ms": heard.wall_ms}

    @handler(idempotent=True)
    async def listen(
        self, line: Name, latest: bool = False, queue: Annotated[int, Range(1, QUEUE)] = 64
    ) -> AsyncIterator[dict[str, Any]]:
        """Frames from now on: number, data, wall_ms; and `is_present` when the device comes or goes.

        Who is too slow misses the oldest ones beyond `queue`, and all but the newest with `latest`; `dropped` in the
        next item says how many.
        """
        source = self._line(line)
        listener = source.listen(1 if latest else queue)
        try:
            if not self._listeners.add(listener, None, self.caller).is_added:
                raise Busy(f"{LISTENERS_SHARE} listeners of one caller, or {LISTENERS} of all: try again later")
            yield {"is_present": source.port.is_present}
            while True:
                dropped, item = await listener.take()
                shown: dict[str, Any] = self._shown(line, item) if isinstance(item, Heard) else {"is_present": item}
                if dropped:
                    self.count("dropped", dropped)
                    shown["dropped"] = dropped
                yield shown
        finally:
            self._listeners.remove(listener)
            source.leave(listener)

    @handler
    async def send(self, line: Name, data: Data) -> None:
        """Send a frame; `unavailable` if the device is away, `busy` if another caller holds the line."""
        await self._line(line, write=True).send(self.caller, as_bytes_untrusted(data))
        self.count("sent")

    @handler
    async def request(
        self, line: Name, data: Data, prefix: Data = "", timeout_s: Annotated[float, Range(0.01, 60)] = 2.0
    ) -> str | bytes:
        """Send a frame and return the answer: the next frame, or the next one that begins with `prefix`.

        One request at a time is on the line. `deadline_exceeded` if no answer comes in time; one that comes later is
        not told from the next answer, unless a `prefix` tells them apart.
        """
        source = self._line(line, write=True)
        with self.time("request"):
            answer = await source.request(self.caller, as_bytes_untrusted(data), as_bytes_untrusted(prefix), timeout_s)
        return self._options(line).shown(answer)

    @handler
    async def hold(self, line: Name) -> AsyncIterator[dict[str, Any]]:
        """Have a line for the caller alone as long as this stream is open: `send` and `request` of others are `busy`.

        Others still listen. The one item says that the line is held.
        """
        source = self._line(line, write=True)
        source.hold(self.caller)
        try:
            yield {"line": line, "holder": self.caller}
            await asyncio.get_running_loop().create_future()
        finally:
            source.release()
