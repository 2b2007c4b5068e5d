"""A camera of V4L2 as third/camera reads it: the driver vivid, which draws bars, a counter and a clock."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tlsrt.loops.component.device import Device, arrive
from tlsrt.loops.third.camera_device import DevicePictures, NoPicturesError
from tlsrt.loops.third.camera_options import CameraOptions

WIDTH, HEIGHT = 640, 360  # as the driver has it from its beginning
PATH = "/dev/video0"
DRIVER = Path("/sys/bus/platform/drivers/vivid")
OPTIONS = CameraOptions(device="eye", pixels="yuyv", width=WIDTH, height=HEIGHT, fps=30, format="rgb24")
BARS = ["111", "110", "011", "010", "101", "100", "001", "000"]  # white to black: red, green, blue


@contextmanager
def opened() -> Iterator[Device]:
    """Give a device as the helper opens it and the runtime hands it to its component, in a running event loop."""
    device = Device("eye", "r", lambda: None, PATH)
    arrive(device, os.open(PATH, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    try:
        yield device
    finally:
        if device.is_present:
            os.close(device.fileno())


async def picture(device: DevicePictures, count: int = 1) -> bytes:
    """Return raw pictures of one run, which ends within the next one."""
    size, found = OPTIONS.given_bytes, b""
    pieces = device.pieces()
    while len(found) < count * size:
        found += await anext(pieces)
    await pieces.aclose()
    return found


def shown(raw: bytes) -> bytes:
    """Return what ffmpeg makes of raw pictures, with the arguments of the service."""
    done = subprocess.run(["ffmpeg", *OPTIONS.arguments()], input=raw, capture_output=True, timeout=300, check=True)
    return done.stdout


def bars(rgb: bytes) -> list[str]:
    """Return the colours of the bars in a row near the lower edge."""
    row = rgb[3 * WIDTH * (HEIGHT - 20) :][: 3 * WIDTH]
    colours = [row[3 * (WIDTH * (2 * bar + 1) // 16) :][:3] for bar in range(8)]
    return ["".join("1" if value > 100 else "0" for value in colour) for colour in colours]


def test_pictures_have_the_size_and_colours_of_the_driver_and_change() -> None:
    async def run() -> bytes:
        with opened() as device:
            return await picture(DevicePictures(device, OPTIONS.given_bytes), 2)

    raw = asyncio.run(run())
    size = OPTIONS.given_bytes
    assert raw[:size] != raw[size : 2 * size], "the counter in it moves"
    rgb = shown(raw[: 2 * size])
    assert len(rgb) >= WIDTH * HEIGHT * 3 and len(rgb) % (WIDTH * HEIGHT * 3) == 0
    assert bars(rgb) == BARS


def test_a_run_that_began_within_a_picture_does_not_shift_the_next_one() -> None:
    async def run() -> list[bytes]:
        with opened() as device:
            pictures = DevicePictures(device, OPTIONS.given_bytes)
            first = await picture(pictures)
            await device.read(1234)  # as a run that is cancelled leaves it
            pictures._at = 1234
            return [first, await picture(pictures)]

    for raw in asyncio.run(run()):
        assert bars(shown(raw[: OPTIONS.given_bytes])) == BARS


def test_a_camera_that_another_program_has_is_a_sentence() -> None:
    async def run() -> None:
        with opened() as first, opened() as second:
            await picture(DevicePictures(first, OPTIONS.given_bytes))
            with pytest.raises(NoPicturesError, match="another program has it"):
                await picture(DevicePictures(second, OPTIONS.given_bytes))

    asyncio.run(run())


def test_a_camera_that_is_unplugged_is_lost_and_comes_again() -> None:
    async def run() -> None:
        with opened() as device:
            pictures = DevicePictures(device, OPTIONS.given_bytes)
            await picture(pictures)
            waiting = asyncio.create_task(picture(pictures))
            await asyncio.to_thread(DRIVER.joinpath("unbind").write_text, "vivid.0")
            while device.is_present:
                await asyncio.sleep(0.05)
            assert not Path(PATH).exists() and not waiting.done()
            await asyncio.to_thread(DRIVER.joinpath("bind").write_text, "vivid.0")
            arrive(device, os.open(PATH, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            with pytest.raises(StopAsyncIteration):  # that run has ended
                await waiting
            raw = await picture(pictures)
            assert bars(shown(raw[: OPTIONS.given_bytes])) == BARS

    asyncio.run(run())
