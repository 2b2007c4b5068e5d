"""Cameras: pictures of declared sources for all who read, by ffmpeg as a program of its own.

No caller gives a path, a URL or an option: sources stand in the options, by name, and what ffmpeg may read and reach is
in the manifest and the operator's part of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from tlsrt import (
    BoundedTable,
    Busy,
    Component,
    ConfigError,
    DeadlineExceeded,
    Failed,
    Length,
    MisuseError,
    NotFound,
    Range,
    Unavailable,
    WhenFull,
    every,
    handler,
)
from tlsrt.loops.third.camera_device import DevicePictures
from tlsrt.loops.third.camera_options import CameraOptions, checked_login
from tlsrt.loops.third.camera_source import CameraSource, Frame
from tlsrt.loops.third.listener import Listener

CAMERAS = 8  # as many runs as the manifest lets ffmpeg have at once
READERS = 64
READERS_SHARE = READERS // 4  # of one caller
PART_BYTES = 192 << 10  # of a frame in one item
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")  # it stands in names of metrics

Name = Annotated[str, Length(64, 1)]


class Camera(Component):
    """Cameras of this host and of its network."""

    class Options:
        """Options: the cameras."""

        sources: Annotated[dict[str, CameraOptions], "Cameras by name."]

        def __post_init__(self) -> None:
            if not 0 < len(self.sources) <= CAMERAS:
                raise ValueError(f"sources: name 1 to {CAMERAS} cameras")
            for name, one in self.sources.items():
                if not _NAME.fullmatch(name):
                    raise ValueError(f"sources: {name!r} is no name: use letters, digits and _, such as front_door")
                if one.problem:
                    raise ValueError(f"sources: {name}: {one.problem}")

    topics = {"presence": "a camera gives pictures, or none: source, is_present, reason"}  # noqa: RUF012

    async def start(self) -> None:
        self._readers: BoundedTable[Listener[Frame | str], None] = BoundedTable(READERS, READERS_SHARE, WhenFull.REFUSE)
        self._sources: dict[str, CameraSource] = {}
        for name, options in self.options.sources.items():
            source = CameraSource(
                name, options, partial(self.program, "ffmpeg", *options.arguments()), self._given(name, options),
                partial(self._tell_presence, name),
            )  # fmt: skip
            self._sources[name] = source
            self.spawn(source.pump, name=f"camera {name}")

    def _given(self, name: str, options: CameraOptions) -> Any:
        """Return what makes the standard input of a run. Raises ConfigError for what is not granted, or no login."""
        if options.device:
            try:
                device = self.device(options.device)
            except MisuseError:
                raise ConfigError(
                    f"camera {name}: no device {options.device} is granted; put it under `needs: devices`"
                ) from None
            return DevicePictures(device, options.given_bytes).pieces
        if options.pattern:
            return lambda: None
        login = ""
        if options.login:
            try:
                login = checked_login(self.secret(options.login).decode())
            except MisuseError:
                raise ConfigError(
                    f"camera {name}: no secret {options.login} is asked for; put it under `needs: secrets`"
                ) from None
            except ValueError as error:
                raise ConfigError(f"camera {name}: the secret {options.login} cannot be used: {error}") from None
        return partial(options.script, login)

    def _tell_presence(self, name: str, reason: str | None) -> None:
        self.publish("presence", {"source": name, "is_present": reason is None, "reason": reason})
        self.count("came" if reason is None else "went")

    @every("5s")
    async def keep_gauges(self) -> None:
        """Set the figures of each camera."""
        for name, source in self._sources.items():
            self.gauge(f"fps_{name}", source.fps or 0.0)
            self.gauge(f"frames_{name}", source.frames)
            self.gauge(f"dropped_{name}", source.dropped)
            if (age_s := source.age_s) is not None:
                self.gauge(f"last_frame_age_s_{name}", age_s)

    def _source(self, name: str) -> CameraSource:
        """Return a camera that the caller may see. Raises NotFound."""
        source = self._sources.get(name)
        if source is None or not self._may(source):
            raise NotFound(f"no camera {name}; `list` shows those that you may see")
        return source

    def _may(self, source: CameraSource) -> bool:
        return "*" in source.options.readers or self.caller in source.options.readers

    def _read(self, source: CameraSource) -> Listener[Frame | str]:
        """Begin to read for the caller. Raises Busy."""
        reader = source.read()
        if not self._readers.add(reader, None, self.caller).is_added:
            source.leave(reader)
            raise Busy(f"{READERS_SHARE} readers of one caller, or {READERS} of all: end one of them")
        return reader

    def _leave(self, source: CameraSource, reader: Listener[Frame | str]) -> None:
        self._readers.remove(reader)
        source.leave(reader)

    @handler(idempotent=True)
    async def list(self) -> list[dict[str, Any]]:
        """Cameras: state (idle, starting, running, waiting), reason, size, frames, dropped, fps, age of the last."""
        return [one.shown() for one in self._sources.values() if self._may(one)]

    @handler(idempotent=True)
    async def frames(
        self, source: Name, count: Annotated[int, Range(0, 1_000_000)] = 0, nth: Annotated[int, Range(1, 1000)] = 1
    ) -> AsyncIterator[dict[str, Any]]:
        """Frames from now on, `count` of them (0: until you stop), each `nth` one: number, pts_ms, wall_ms, data, ...

        Who is slow gets the newest one; `dropped` in it says how many were left out. A frame larger than 192 KiB comes
        in several items, with `part` from 0 and `parts`. `is_present: false` with a `reason` says that none come now.
        """
        camera = self._source(source)
        reader = self._read(camera)
        try:
            given, seen = 0, 0
            while not count or given < count:
                dropped, item = await reader.take()
                camera.dropped += dropped
                if isinstance(item, str):
                    yield {"is_present": False, "reason": item}
                    continue
                seen += 1
                if (seen - 1) % nth:
                    continue
                given += 1
                for one in _items(camera, item):
                    yield {**one, "dropped": dropped} if dropped else one
        finally:
            self._leave(camera, reader)

    @handler(idempotent=True)
    async def snapshot(
        self, source: Name, max_age_s: Annotated[float, Range(0, 60)] = 1.0,
        timeout_s: Annotated[float, Range(0.1, 60)] = 15.0,
    ) -> dict[str, Any]:  # fmt: skip
        """One frame, not older than `max_age_s`; a camera that is idle is started for it.

        `unavailable` with the reason if it gives no pictures, `deadline_exceeded` if none comes within `timeout_s`.
        """
        camera = self._source(source)
        with self.time("snapshot"):
            if camera.last is not None and (camera.age_s or 0.0) <= max_age_s:
                return _whole(camera, camera.last)
            reader = self._read(camera)
            try:
                async with asyncio.timeout(timeout_s):
                    _, item = await reader.take()
            except TimeoutError:
                raise DeadlineExceeded(f"camera {source}: no picture within {timeout_s:g} s") from None
            finally:
                self._leave(camera, reader)
        if isinstance(item, str):
            raise Unavailable(f"camera {source}: {item}")
        return _whole(camera, item)


def _items(camera: CameraSource, frame: Frame) -> list[dict[str, Any]]:
    """Return a frame as items of a stream."""
    parts = [frame.data[at : at + PART_BYTES] for at in range(0, len(frame.data), PART_BYTES)]
    options = camera.options
    head = {
        "number": frame.number, "pts_ms": frame.pts_ms, "wall_ms": frame.wall_ms,
        "width": options.width, "height": options.height, "format": options.format,
    }  # fmt: skip
    if len(parts) == 1:
        return [{**head, "data": frame.data}]
    return [{**head, "part": at, "parts": len(parts), "data": part} for at, part in enumerate(parts)]


def _whole(camera: CameraSource, frame: Frame) -> dict[str, Any]:
    items = _items(camera, frame)
    if len(items) > 1:
        raise Failed(f"a frame of {len(frame.data)} bytes is more than one answer holds: read `frames` with count 1")
    return items[0]
