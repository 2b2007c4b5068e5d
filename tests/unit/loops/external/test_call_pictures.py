"""Pictures of a camera: the newest one wins, and what is no picture of the size that it says is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.extras import need_extra

from tlsrt import InvalidArgument

need_extra("calling", "av")
import av  # noqa: E402

from tlsrt.loops.external.call_pictures import (  # noqa: E402
    PICTURE_BYTES,
    Picture,
    PictureDecoder,
    SeenPictures,
    jpeg_size_untrusted,
    pictures_untrusted,
)

HEAD: dict[str, Any] = {"number": 1, "width": 4, "height": 2, "format": "gray"}


def jpeg_of(width: int, height: int) -> bytes:
    """Return a JPEG that libavcodec makes."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    frame = av.VideoFrame(width, height, "yuvj420p")
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.pts = 0
    return b"".join(bytes(one) for one in [*encoder.encode(frame), *encoder.encode(None)])


async def given_items(items: list[Any]) -> AsyncIterator[Any]:
    for one in items:
        yield one


def read(items: list[Any]) -> list[Picture]:
    async def run() -> list[Picture]:
        return [one async for one in pictures_untrusted(given_items(items))]

    return asyncio.run(run())


def test_the_newest_picture_wins_and_the_others_are_counted() -> None:
    async def run() -> None:
        seen = SeenPictures()
        waiting = asyncio.ensure_future(seen.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        for number in range(5):
            seen.put(Picture(1, 1, "gray", bytes([number])))
        assert (await waiting).data == b"\4" and seen.lost == 4
        seen.put(Picture(1, 1, "gray", b"x"))
        seen.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(seen.take(), 0.01)

    asyncio.run(run())


def test_parts_are_put_together_and_a_picture_whose_beginning_is_missing_is_left_out() -> None:
    part = {**HEAD, "parts": 3}
    items = [
        {**part, "part": 1, "data": b"xx"}, {**part, "part": 2, "data": b"xx"},
        *({**part, "part": at, "data": data} for at, data in enumerate((b"ab", b"cd", b"efgh"))),
        {"is_present": False, "reason": "away"}, {**part, "part": 0, "data": b"yy"}, {**HEAD, "data": b"12345678"},
    ]  # fmt: skip
    assert [one.data for one in read(items)] == [b"abcdefgh", b"12345678"]


@pytest.mark.parametrize(
    "item",
    [
        {}, {**HEAD, "data": "text"}, {**HEAD, "width": 4.0, "data": b""}, {**HEAD, "width": True, "data": b""},
        {**HEAD, "height": 100_000, "data": b""}, {**HEAD, "format": "webp", "data": b""},
        {**HEAD, "part": "0", "data": b""},
    ],
)  # fmt: skip
def test_what_is_no_frame_is_refused(item: Any) -> None:
    with pytest.raises(InvalidArgument, match="no frame"):
        read([item])


def test_a_picture_without_an_end_is_refused() -> None:
    part = {**HEAD, "parts": 1 << 40, "data": bytes(1 << 20)}
    with pytest.raises(InvalidArgument, match="more than"):
        read([{**part, "part": at} for at in range((PICTURE_BYTES >> 20) + 1)])


@given(st.binary(max_size=200))
def test_any_bytes_say_a_size_or_are_refused(data: bytes) -> None:
    for one in (data, b"\xff\xd8\xff" + data):
        try:
            width, height = jpeg_size_untrusted(one)
        except InvalidArgument:
            continue
        assert 0 <= width < 1 << 16 and 0 <= height < 1 << 16


def test_pictures_of_all_formats_become_frames_of_a_bounded_size() -> None:
    decoder = PictureDecoder()
    for picture, size in (
        (Picture(320, 180, "jpeg", jpeg_of(320, 180)), (320, 180)),
        (Picture(1920, 1080, "jpeg", jpeg_of(1920, 1080)), (1280, 720)),
        (Picture(64, 1920, "gray", bytes(64 * 1920)), (24, 720)),
        (Picture(320, 180, "rgb24", bytes(320 * 180 * 3)), (320, 180)),
        (Picture(33, 17, "rgb24", bytes(33 * 17 * 3)), (33, 17)),
    ):
        frame = decoder.frame_untrusted(picture)
        assert (frame.width, frame.height, frame.format.name) == (*size, "yuv420p")


def test_a_picture_of_another_size_or_kind_than_it_says_is_refused() -> None:
    decoder, good = PictureDecoder(), jpeg_of(64, 64)
    assert jpeg_size_untrusted(good) == (64, 64)
    for picture in (
        Picture(64, 32, "jpeg", good), Picture(64, 64, "jpeg", good[:30]), Picture(64, 64, "jpeg", b""),
        Picture(64, 64, "gray", bytes(64 * 64 - 1)), Picture(64, 64, "rgb24", bytes(64 * 64)),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument):
            decoder.frame_untrusted(picture)
    assert decoder.frame_untrusted(Picture(64, 64, "jpeg", good)).width == 64  # the next one is seen


def test_a_cut_picture_stops_nothing() -> None:
    decoder, good = PictureDecoder(), jpeg_of(64, 64)
    for end in range(0, len(good), 7):
        try:
            decoder.frame_untrusted(Picture(64, 64, "jpeg", good[:end]))
        except InvalidArgument:
            continue
    assert decoder.frame_untrusted(Picture(64, 64, "jpeg", good)).height == 64
