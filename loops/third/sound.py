"""Sound: played on declared outputs, one after the other, and recorded from declared inputs.

pacat, a program of its own, speaks with the sound server of the host, PipeWire or PulseAudio, by TCP on loopback.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

from tlsrt import (
    BoundedTable,
    Busy,
    Component,
    DeadlineExceeded,
    Denied,
    InvalidArgument,
    Length,
    NotFound,
    Range,
    Unavailable,
    WhenFull,
    handler,
)
from tlsrt.loops.sampling.sound_level import level_of
from tlsrt.loops.sampling.sound_upload import Upload
from tlsrt.loops.sampling.wav import SoundFormat, WavError
from tlsrt.loops.third.sound_output import SoundOutput

DEVICES = 16
RECORDERS = 4  # as many runs as the manifest lets pacat have at once, less one for each sound that plays
RECORDERS_SHARE = 2  # of one caller
SLACK_S = 10.0  # for an upload that comes slower than it plays
PIECE_S = 0.1  # of a recording, with its level
_FULL_VOLUME = 65536  # of PulseAudio: 100 %
_SERVER = re.compile(r"[0-9A-Za-z.-]{1,128}:\d{1,5}")
_DEVICE = re.compile(r"[A-Za-z0-9_.:+-]{1,128}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")

Name = Annotated[str, Length(64, 1)]
Rate = Annotated[int, Range(8000, 48000)]
Channels = Annotated[int, Range(1, 2)]
Subjects = Annotated[tuple[str, ...], Length(64)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """A sink or source of a sound server."""

    device: str = ""  # its name, as `pactl list short` shows it; "": the default one
    server: str = "127.0.0.1:4713"
    volume: Annotated[int, Range(0, 100)] = 100  # the most that a caller may have, percent
    users: Subjects = ("*",)  # of those whom policy lets call

    @property
    def problem(self) -> str:
        """Return what of it is wrong; empty if nothing is."""
        if not _SERVER.fullmatch(self.server):
            return "server: write HOST:PORT, as in 127.0.0.1:4713"
        if self.device and not _DEVICE.fullmatch(self.device):
            return "device: write the name of a sink or source, as `pactl list short` shows it"
        return ""


class Sound(Component):
    """Plays and records."""

    @dataclasses.dataclass(frozen=True)
    class Options:
        """Options: what there is, and how long a sound may be."""

        outputs: Annotated[dict[str, DeviceOptions], "Sinks by name."] = dataclasses.field(
            default_factory=dict[str, DeviceOptions]
        )
        inputs: Annotated[dict[str, DeviceOptions], "Sources by name."] = dataclasses.field(
            default_factory=dict[str, DeviceOptions]
        )
        play_s: Annotated[float, Range(0.1, 3600), "How long one sound may be."] = 60.0
        record_s: Annotated[float, Range(0.1, 3600), "How long one recording may be."] = 300.0

        def __post_init__(self) -> None:
            devices = [*self.outputs.items(), *self.inputs.items()]
            if not 0 < len(devices) <= DEVICES or len({name for name, _ in devices}) < len(devices):
                raise ValueError(f"outputs, inputs: name 1 to {DEVICES}, each once")
            for name, one in devices:
                if not _NAME.fullmatch(name):
                    raise ValueError(f"{name!r} is no name: use letters, digits and _, such as kitchen")
                if one.problem:
                    raise ValueError(f"{name}: {one.problem}")

    async def start(self) -> None:
        self._outputs = {name: SoundOutput(name) for name in self.options.outputs}
        self._recording: Counter[str] = Counter()
        self._recorders: BoundedTable[object, None] = BoundedTable(RECORDERS, RECORDERS_SHARE, WhenFull.REFUSE)

    def _device(self, kind: str, name: str) -> DeviceOptions:
        """Return an output or input that the caller may use. Raises NotFound."""
        devices: dict[str, DeviceOptions] = getattr(self.options, f"{kind}s")
        found = devices.get(name)
        if found is None or not self._may(found):
            raise NotFound(f"no {kind} {name}; `list` shows those that you may use")
        return found

    def _may(self, device: DeviceOptions) -> bool:
        return "*" in device.users or self.caller in device.users

    @handler(idempotent=True)
    async def list(self) -> list[dict[str, Any]]:
        """Outputs: who plays, how many wait, how many have played; and inputs: how many record."""
        outputs = [one.shown() for name, one in self._outputs.items() if self._may(self.options.outputs[name])]
        inputs = [
            {"name": name, "kind": "input", "recorders": self._recording[name]}
            for name, one in self.options.inputs.items()
            if self._may(one)
        ]
        return [*outputs, *inputs]

    @handler
    async def play(
        self, output: Name, volume: Annotated[int, Range(0, 100)], sound: AsyncIterator[bytes]
    ) -> dict[str, Any]:
        """Play a WAV file of 16 bits, and answer at its end: {played_s, stopped_by}.

        One sound at a time is on an output; at most 8 wait, 2 of one caller. `volume` is percent of what the options
        allow, as sliders have it. `stopped_by` says who has silenced it, null if it came to its end.
        """
        return await self._upload(output, volume, sound, None)

    @handler
    async def play_raw(
        self, output: Name, volume: Annotated[int, Range(0, 100)], rate: Rate, channels: Channels,
        sound: AsyncIterator[bytes],
    ) -> dict[str, Any]:  # fmt: skip
        """Play samples of 16 bits, little-endian, as `play` plays a file."""
        return await self._upload(output, volume, sound, SoundFormat(rate, channels))

    async def _upload(
        self, output: str, volume: int, sound: AsyncIterator[bytes], raw: SoundFormat | None
    ) -> dict[str, Any]:
        device = self._device("output", output)
        async with self._outputs[output].turn(self.caller) as playing:
            upload = Upload(sound, raw, self.options.play_s)
            try:
                async with asyncio.timeout(self.options.play_s + SLACK_S):
                    await playing.unless_stopped(self._play(device, upload, volume * device.volume // 100))
            except WavError as error:
                raise InvalidArgument(f"sound: {error}") from None
            except TimeoutError:
                raise DeadlineExceeded(f"output {output}: the sound comes too slowly, or is not played") from None
            self.count("stopped" if playing.stopped_by else "played")
            return {"played_s": round(upload.seconds, 2), "stopped_by": playing.stopped_by or None}

    async def _play(self, device: DeviceOptions, upload: Upload, percent: int) -> None:
        """Play an upload to its end. Raises Unavailable, WavError."""
        if not await upload.begin() or upload.format is None:
            return
        words = [*_words("-p", device, upload.format), f"--volume={percent * _FULL_VOLUME // 100}"]
        async with self.program("pacat", *words) as run:
            run.feed(upload.samples())
            if await run.wait():
                raise Unavailable(f"the sound server does not play: {_last_line(run.stderr)}")

    @handler
    async def silence(self, output: Name) -> bool:
        """Stop what plays on an output; what waits for it goes on. Returns whether something played.

        A caller stops its own sounds; those of others are `denied` unless the options name it under `users`.
        """
        device, playing = self._device("output", output), self._outputs[output].playing
        if playing is None:
            return False
        if playing.caller != self.caller and self.caller not in device.users:
            raise Denied(f"output {output}: the sound is of {playing.caller}; `users` of its options may stop it")
        playing.stop(self.caller)
        return True

    @handler
    async def record(
        self, input: Name, seconds: Annotated[float, Range(0.1, 3600)] = 10.0, rate: Rate = 16000,
        channels: Channels = 1, data: bool = True,
    ) -> AsyncIterator[dict[str, Any]]:  # fmt: skip
        """Record: samples of 16 bits, little-endian, in pieces of 0.1 s: {at_s, data, rms_db, peak_db}.

        It ends after `seconds`. With `data=false` it is a meter: levels alone. Levels are dB of full scale, 0 at most.
        """
        device = self._device("input", input)
        if seconds > self.options.record_s:
            raise InvalidArgument(f"seconds: a recording is {self.options.record_s:g} s long at most")
        shape, recorder = SoundFormat(rate, channels), object()
        if not self._recorders.add(recorder, None, self.caller).is_added:
            raise Busy(
                f"{RECORDERS_SHARE} recordings of one caller are running, or {RECORDERS} of all: end one of them"
            )
        self._recording[input] += 1
        try:
            async with self.program("pacat", *_words("-r", device, shape)) as run:
                size, left, at = round(rate * PIECE_S) * 2 * channels, round(shape.bytes_per_s * seconds), 0
                rest = bytearray()
                while left > 0:
                    if not (piece := await self._piece(run, input)):
                        await self._tell_end(run, input)
                    rest += piece
                    while left > 0 and len(rest) >= (count := min(size, left)):
                        samples = bytes(rest[:count])
                        del rest[:count]
                        left -= count
                        yield _shown(samples, at / shape.bytes_per_s, data=data)
                        at += count
                        self.count("recorded_bytes", count)
        finally:
            self._recording[input] -= 1
            self._recorders.remove(recorder)

    async def _piece(self, run: Any, name: str) -> bytes:
        try:
            async with asyncio.timeout(SLACK_S):
                piece: bytes = await run.read(64 << 10)
                return piece
        except TimeoutError:
            raise Unavailable(f"input {name}: nothing came within {SLACK_S:g} s") from None

    async def _tell_end(self, run: Any, name: str) -> None:
        """Say why a recording has ended before its time. Raises Unavailable."""
        await run.wait()
        raise Unavailable(f"input {name}: the sound server records nothing: {_last_line(run.stderr)}")


def _words(what: str, device: DeviceOptions, shape: SoundFormat) -> list[str]:
    default = "@DEFAULT_SINK@" if what == "-p" else "@DEFAULT_SOURCE@"
    return [
        what, f"--server=tcp:{device.server}", f"--device={device.device or default}", "--format=s16le",
        f"--rate={shape.rate}", f"--channels={shape.channels}", "--latency-msec=100",
    ]  # fmt: skip


def _shown(samples: bytes, at_s: float, *, data: bool) -> dict[str, Any]:
    level = level_of(samples)
    assert level is not None
    item: dict[str, Any] = {"at_s": round(at_s, 3), "rms_db": level.rms_db, "peak_db": level.peak_db}
    return {**item, "data": samples} if data else item


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "it says no reason"
