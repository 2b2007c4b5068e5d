"""One camera: its program runs while frames are read, and is begun again when it ends; the newest frame wins."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterable, Callable
from typing import Any, Literal, NamedTuple, Protocol

from tlsrt import Busy, ProgramError
from tlsrt.loops.third.camera_device import NoPicturesError
from tlsrt.loops.third.camera_options import CameraOptions, reason_of
from tlsrt.loops.third.frame_stream import DamagedStreamError
from tlsrt.loops.third.listener import Listener

FIRST_TIMES = 2  # as long as `stall_s` for the first frame of a run: a camera of the network is asked first
PAUSE_S, PAUSE_MOST_S = 0.5, 30.0  # before the next run; twice as long after each that failed
STEADY_S = 10.0  # a run that gave frames for so long was a good one
_RECENT = 32  # frames of which the rate is told

State = Literal["idle", "starting", "running", "waiting"]


class Run(Protocol):
    """The part of a program that is needed, `tlsrt.Program`."""

    def feed(self, data: bytes | AsyncIterable[bytes]) -> None: ...

    async def read(self, count: int = -1) -> bytes: ...

    async def wait(self) -> int: ...

    async def __aenter__(self) -> Run: ...

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None: ...


class Frame(NamedTuple):
    """A frame: its number since the start, when it was shown (ms since its run began) and came (wall clock, ms)."""

    number: int
    pts_ms: int
    wall_ms: int
    came_s: float  # monotonic
    data: bytes


class CameraSource:
    """A camera with all who read it."""

    def __init__(
        self, name: str, options: CameraOptions, begin: Callable[[], Run],
        given: Callable[[], bytes | AsyncIterable[bytes] | None], on_presence: Callable[[str | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.name = name
        self.options = options
        self.state: State = "idle"
        self.reason = ""  # why it gives nothing now
        self.frames = self.dropped = self.runs = 0
        self.last: Frame | None = None  # of a run that goes on
        self._begin = begin
        self._given = given
        self._on_presence = on_presence  # gets why it gives none, None if it gives some
        self._clock = clock
        self._readers: set[Listener[Frame | str]] = set()
        self._wanted = asyncio.Event()
        self._left_s = 0.0  # when the last reader went away
        self._came: deque[float] = deque(maxlen=_RECENT)

    def read(self) -> Listener[Frame | str]:
        """Begin to read: frames, and the reason when it gives none; give it to `leave` at the end."""
        reader = Listener[Frame | str](1)
        self._readers.add(reader)
        self._wanted.set()
        if self.state == "waiting":
            reader.put(self.reason)
        return reader

    def leave(self, reader: Listener[Frame | str]) -> None:
        self._readers.discard(reader)
        self._left_s = self._clock()

    async def pump(self) -> None:
        """Run its program while it has readers, for ever."""
        pause_s = PAUSE_S
        while True:
            await self._wanted.wait()
            began_s, frames = self._clock(), self.frames
            reason = await self._one_run()
            self.last = None
            self._came.clear()
            if not reason:  # it has no reader
                self.state, self.reason, pause_s = "idle", "", PAUSE_S
                continue
            if self.frames > frames and self._clock() - began_s > STEADY_S:
                pause_s = PAUSE_S
            if reason != self.reason:
                self._on_presence(reason)
            self.state, self.reason = "waiting", reason
            for reader in self._readers:
                reader.put(reason)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - nothing is kept secret by it
            pause_s = min(2 * pause_s, PAUSE_MOST_S)
            self._stop_if_unread()

    def _stop_if_unread(self) -> bool:
        is_over = not self._readers and self._clock() - self._left_s >= self.options.idle_s
        if is_over:
            self._wanted.clear()
            if self.state == "waiting":
                self.state, self.reason = "idle", ""
        return is_over

    async def _one_run(self) -> str:
        """Give frames until the program ends or no reader is left; return why, "" for the latter."""
        self.state = "starting"
        self.runs += 1
        try:
            async with self._begin() as run:
                if (given := self._given()) is not None:
                    run.feed(given)
                return await self._pass_on(run)
        except TimeoutError:
            return f"no whole picture came within {self._stall_s:g} s"
        except (ProgramError, Busy, DamagedStreamError, NoPicturesError) as error:
            return str(error)

    async def _pass_on(self, run: Run) -> str:
        stream, first = self.options.stream(), self.frames
        until = asyncio.get_running_loop().time() + self._stall_s
        while True:
            async with asyncio.timeout_at(until):
                data = await run.read(192 << 10)
            if not data:
                async with asyncio.timeout(self._stall_s):
                    return reason_of(await run.wait())
            for frame in stream.feed_untrusted(data):
                if self.state != "running":
                    self._on_presence(None)
                self.state, self.reason = "running", ""
                self._tell(frame, round((self.frames - first) * 1000 / self.options.fps))
                until = asyncio.get_running_loop().time() + self._stall_s
            if self._stop_if_unread():
                return ""

    @property
    def _stall_s(self) -> float:
        return self.options.stall_s * (FIRST_TIMES if self.last is None else 1)

    def _tell(self, data: bytes, pts_ms: int) -> None:
        self.frames += 1
        now = self._clock()
        self._came.append(now)
        self.last = Frame(self.frames, pts_ms, time.time_ns() // 1_000_000, now, data)
        for reader in self._readers:
            reader.put(self.last)

    @property
    def fps(self) -> float | None:
        """Return the rate of the last frames; None while there are none."""
        if len(self._came) < 2 or self._came[-1] == self._came[0]:
            return None
        return (len(self._came) - 1) / (self._came[-1] - self._came[0])

    @property
    def age_s(self) -> float | None:
        """Return how old the newest frame is; None without one."""
        return None if self.last is None else self._clock() - self.last.came_s

    def shown(self) -> dict[str, Any]:
        """Return what is told of it."""
        options, fps, age_s = self.options, self.fps, self.age_s
        return {
            "name": self.name, "kind": options.kind, "state": self.state, "reason": self.reason or None,
            "format": options.format, "width": options.width, "height": options.height,
            "frames": self.frames, "dropped": self.dropped, "runs": self.runs, "readers": len(self._readers),
            "fps": None if fps is None else round(fps, 2),
            "last_frame_age_s": None if age_s is None else round(age_s, 3),
        }  # fmt: skip
