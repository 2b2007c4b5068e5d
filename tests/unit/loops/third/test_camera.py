"""Cameras: what they are told, the forms that ffmpeg may be given, and a program that ends, hangs or lies."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any

import pytest

from tlsrt.config.argument_patterns import parse_form
from tlsrt.config.manifest import parse_manifest
from tlsrt.errors import ConfigError, InvalidArgument, NotFound, ProgramError
from tlsrt.loops.third import camera_source
from tlsrt.loops.third.camera import CAMERAS, Camera
from tlsrt.loops.third.camera_device import STALE, DevicePictures
from tlsrt.loops.third.camera_options import CameraOptions, checked_login, reason_of
from tlsrt.loops.third.camera_source import CameraSource
from tlsrt.testing import running_sync

MANIFEST = Path(__file__).parents[4] / "loops" / "third" / "camera.tlsrt.yaml"
HEAD = b"--ffmpeg\r\nContent-type: image/jpeg\r\nContent-length: %d\r\n\r\n"
PROGRAM = parse_manifest(MANIFEST.read_bytes(), MANIFEST).tree["programs"]["ffmpeg"]
FORMS = [parse_form(one) for one in PROGRAM["args"]]


def picture(data: bytes) -> bytes:
    return HEAD % len(data) + data + b"\r\n"


def fits(arguments: list[str]) -> bool:
    return any(one.fits(arguments) for one in FORMS)


@pytest.mark.parametrize("given", [
    {"rtsp": "rtsp://h/x"}, {"file": "/srv/x.mkv"}, {"device": "d"}, {"pattern": True},
    *({"device": "d", "pixels": one} for one in ("yuyv", "uyvy", "nv12", "grey")),
])  # fmt: skip
@pytest.mark.parametrize("made", ["jpeg", "rgb24", "gray"])
def test_what_ffmpeg_is_given_fits_a_form_of_the_manifest(given: dict[str, Any], made: Any) -> None:
    arguments = CameraOptions(**given, format=made, width=1920, height=1080, fps=30).arguments()
    assert fits(arguments)
    for at, word in enumerate(arguments):  # one word of another kind, and it does not
        assert not fits([*arguments[:at], f"{word},movie=/etc/shadow", *arguments[at + 1 :]])
    assert not fits([*arguments, "-report"]) and not fits(["-i", "/etc/shadow", *arguments])


def test_the_manifest_lets_as_many_run_as_there_may_be_cameras() -> None:
    assert PROGRAM["at_once"] == CAMERAS


def test_a_login_is_in_the_script_alone_and_cannot_end_its_line() -> None:
    options = CameraOptions(rtsp="rtsp://192.0.2.9:554/stream1", login="door")
    login = checked_login("user:it's/@?#%41:x\n")
    assert login == "user:it%27s%2F%40%3F%23%2541%3Ax"
    script = options.script(login).decode()
    assert f"file 'rtsp://{login}@192.0.2.9:554/stream1'\n" in script
    assert "it%27s" not in " ".join(options.arguments())
    for wrong in ("user", ":x", "", "user:a\nfile /etc/passwd", "user:\0"):
        with pytest.raises(ValueError, match="USER:PASSWORD"):
            checked_login(wrong)


def test_a_film_is_quoted() -> None:
    script = CameraOptions(file="/srv/it's.mkv").script().decode().splitlines()
    assert script == ["ffconcat version 1.0", r"file 'file:/srv/it'\''s.mkv'"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({}, "say one of rtsp, file, device and pattern"),
        ({"pattern": True, "file": "/x"}, "not file and pattern"),
        ({"rtsp": "rtsp://user:pw@h/x"}, "with the login as a secret"),
        ({"rtsp": "http://h/x"}, "rtsp: write rtsp://"),
        ({"rtsp": "rtsp://h/x'\nfile y"}, "rtsp: write rtsp://"),
        ({"rtsp": "rtsp://h/x\n"}, "rtsp: write rtsp://"),
        ({"file": "/srv/../etc/passwd"}, "absolute path"),
        ({"file": "srv"}, "absolute path"),
        ({"file": "/srv/a\nfile b"}, "absolute path"),
        ({"pattern": True, "login": "x"}, "login is for rtsp"),
        ({"pattern": True, "pixels": "yuyv"}, "pixels is for device"),
        ({"device": "d", "pixels": "yuyv", "width": 321}, "pixels: width and height are even"),
    ],
)
def test_what_does_not_go_together_is_told(wrong: dict[str, Any], sentence: str) -> None:
    assert sentence in CameraOptions(**wrong).problem


def test_wrong_options_keep_it_from_its_start() -> None:
    for sources, sentence in [
        ({}, "name 1 to 8"),
        ({"Front Door": {"pattern": True}}, "is no name"),
        ({"a": {}}, "say one of rtsp"),
        ({"a": {"device": "away"}}, "no device away is granted"),
        ({"a": {"rtsp": "rtsp://h/x", "login": "away"}}, "no secret away is asked for"),
    ]:
        with pytest.raises(ConfigError, match=sentence), running_sync(Camera, options={"sources": sources}):
            pass
    options = {"sources": {"a": {"rtsp": "rtsp://h/x", "login": "door"}}}
    with (
        pytest.raises(ConfigError, match="the secret door cannot be used: it is not USER:PASSWORD") as caught,
        running_sync(Camera, options=options, secrets={"door": b"geheim"}),
    ):
        pass
    assert "geheim" not in str(caught.value)


def test_a_caller_sees_its_cameras_and_gives_no_path() -> None:
    options = {"sources": {"a": {"pattern": True, "readers": ["client/anna"]}, "b": {"pattern": True}}}
    with running_sync(Camera, options=options) as camera:
        assert [one["name"] for one in camera.call("list", caller="client/eve")] == ["b"]
        for name in ("a", "/dev/video0", "rtsp://h/x", "b -i x"):
            with pytest.raises(NotFound):
                camera.call("snapshot", name, caller="client/eve")
        with pytest.raises(InvalidArgument):
            camera.call("snapshot", "x" * 65)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (145, "Connection refused"),
        (8, "the server refuses it"),
        (183, "nothing that ffmpeg can read"),
        (0, "its pictures have ended"),
        (1, "ended with status 1"),
    ],
)
def test_a_status_of_ffmpeg_is_told_in_words(status: int, reason: str) -> None:
    assert reason in reason_of(status)


class FakeRun:
    """A run of a program: pieces of its output, then its end with a status or an error, or nothing ever again."""

    def __init__(self, pieces: list[bytes], end: int | Exception | None = 0) -> None:
        self._pieces = [*pieces]
        self._end = end
        self.given: object = None

    def feed(self, data: bytes | AsyncIterable[bytes]) -> None:
        self.given = data

    async def read(self, count: int = -1) -> bytes:
        await asyncio.sleep(0)
        if not self._pieces and self._end is None:
            await asyncio.get_running_loop().create_future()
        return self._pieces.pop(0) if self._pieces else b""

    async def wait(self) -> int:
        if isinstance(self._end, Exception):
            raise self._end
        assert self._end is not None
        return self._end

    async def __aenter__(self) -> FakeRun:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._pieces.clear()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_source, "PAUSE_S", 0.001)


class Watched:
    """A source over runs of a test, and what it told."""

    def __init__(self, *runs: FakeRun, **options: Any) -> None:
        self.told: list[str | None] = []
        self.begun = 0
        self._runs = runs

        def begin() -> FakeRun:
            self.begun += 1
            return self._runs[min(self.begun, len(self._runs)) - 1]

        settings = CameraOptions(pattern=True, stall_s=0.2, idle_s=0, **options)
        self.source = CameraSource("a", settings, begin, lambda: None, self.told.append)

    async def items(self, count: int) -> list[Any]:
        reader, pump = self.source.read(), asyncio.ensure_future(self.source.pump())
        try:
            async with asyncio.timeout(20):
                return [(await reader.take())[1] for _ in range(count)]
        finally:
            pump.cancel()


def test_a_program_that_ends_is_begun_again_and_told() -> None:
    watched = Watched(FakeRun([picture(b"one")], 145), FakeRun([picture(b"two")], None))
    first, reason, second = asyncio.run(watched.items(3))
    assert (first.data, first.number, first.pts_ms) == (b"one", 1, 0)
    assert reason == "Connection refused"
    assert (second.data, second.number, second.pts_ms) == (b"two", 2, 0)
    assert watched.told == [None, "Connection refused", None]


@pytest.mark.parametrize(
    ("pieces", "end", "reason"),
    [
        ([b"x" * 600], None, "what it writes is no pictures"),
        ([HEAD % (9 << 20)], None, "where 8388608 are the most"),
        ([HEAD % 5000, b"never ends"], None, "no whole picture came within 0.4 s"),
        ([], None, "no whole picture came within 0.4 s"),
        ([], ProgramError("ffmpeg", "memory", "it ran out of memory", 0, ""), "memory"),
    ],
)
def test_a_program_that_lies_or_hangs_is_ended_and_told(pieces: list[bytes], end: Any, reason: str) -> None:
    watched = Watched(FakeRun(pieces, end), FakeRun([picture(b"good")], None))
    told, good = asyncio.run(watched.items(2))
    assert reason in told
    assert good.data == b"good"


def test_the_newest_frame_wins() -> None:
    async def read() -> tuple[int, Any]:
        watched = Watched(FakeRun([b"".join(picture(b"%d" % one) for one in range(10))], None))
        reader, pump = watched.source.read(), asyncio.ensure_future(watched.source.pump())
        while watched.source.frames < 10:
            await asyncio.sleep(0)
        pump.cancel()
        return await reader.take()

    dropped, frame = asyncio.run(read())
    assert (dropped, frame.data) == (9, b"9")


def test_it_runs_while_somebody_reads() -> None:
    async def life() -> Watched:
        endless = FakeRun([picture(b"x")] * 100_000, None)
        watched = Watched(endless)
        source = watched.source
        pump = asyncio.ensure_future(source.pump())
        await asyncio.sleep(0)
        assert (source.shown()["state"], watched.begun) == ("idle", 0)
        reader = source.read()
        await reader.take()
        assert source.shown()["state"] == "running"
        source.leave(reader)
        while source.shown()["state"] != "idle":
            await asyncio.sleep(0)
        assert source.last is None and source.age_s is None and source.fps is None
        pump.cancel()
        return watched

    assert asyncio.run(life()).begun == 1


class Webcam:
    """A device whose pictures are numbers, which ends a reading with each picture as videobuf2 does."""

    SIZE = 4

    def __init__(self) -> None:
        self.connections = 1
        self.given = 0
        self.comes_again_at = -1

    async def present(self) -> None:
        await asyncio.sleep(0)

    async def read(self, most: int) -> bytes:
        await asyncio.sleep(0)
        if self.given == self.comes_again_at:
            self.connections, self.given, self.comes_again_at = self.connections + 1, 0, -1
        count = min(most, 3, self.SIZE - self.given % self.SIZE)
        data = bytes([self.given // self.SIZE]) * count
        self.given += count
        return data


def test_each_run_on_a_webcam_begins_with_a_new_picture_and_none_that_is_stale() -> None:
    async def run() -> None:
        webcam = Webcam()
        pictures = DevicePictures(webcam, Webcam.SIZE)
        shown = 0
        for _ in range(3):  # each ends within a picture
            pieces = pictures.pieces()
            first, second = await anext(pieces), await anext(pieces)
            assert first + second == bytes([first[0]]) * Webcam.SIZE and first[0] >= shown + STALE
            shown = (await anext(pieces))[0]
            assert shown == first[0] + 1
            await pieces.aclose()
        webcam.comes_again_at = webcam.given + 5
        assert [one async for one in pictures.pieces()] == [], "all was stale, then it came again: that run ends"
        pieces = pictures.pieces()
        assert await anext(pieces) + await anext(pieces) == bytes([STALE + 1]) * Webcam.SIZE

    asyncio.run(run())


def test_bytes_of_jpeg_are_passed_on_as_they_come() -> None:
    async def run() -> None:
        pieces = DevicePictures(Webcam()).pieces()
        assert [await anext(pieces), await anext(pieces)] == [b"\0\0\0", b"\0"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EBUSY, "another program has it"),
        (errno.EINVAL, "its driver gives"),
        (errno.EPERM, "not permitted"),
    ],
)
def test_a_device_that_cannot_be_read_is_a_reason_and_does_not_end_the_camera(number: int, reason: str) -> None:
    class Refusing(Webcam):
        async def read(self, most: int) -> bytes:
            raise OSError(number, "")

    class Run:
        """A program whose reader hears what feeding it has raised, as `tlsrt.Program` does."""

        def feed(self, data: bytes | AsyncIterable[bytes]) -> None:
            assert not isinstance(data, bytes)
            self._data = data

        async def read(self, count: int = -1) -> bytes:
            return b"".join([one async for one in self._data])

        async def wait(self) -> int:
            return 0

        async def __aenter__(self) -> Run:
            return self

        async def __aexit__(self, *_: object) -> None: ...

    async def run() -> None:
        told: list[str | None] = []
        source = CameraSource(
            "eye", CameraOptions(device="eye", pixels="yuyv"), Run, DevicePictures(Refusing(), 4).pieces, told.append
        )
        reader = source.read()
        pump = asyncio.create_task(source.pump())
        _, said = await reader.take()
        assert isinstance(said, str) and reason in said and told == [said] and not pump.done()
        pump.cancel()

    asyncio.run(run())
