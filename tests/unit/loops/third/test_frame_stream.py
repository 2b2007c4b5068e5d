"""Frames out of what a program writes: whole or byte by byte the same, and one error for what holds none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tlsrt.loops.third.frame_stream import HEADER_BYTES, DamagedStreamError, MultipartFrames, RawFrames

MOST = 1000


def written(frames: list[bytes]) -> bytes:
    """Return frames as the muxer `mpjpeg` of ffmpeg writes them."""
    head = b"Content-type: image/jpeg\r\nContent-length: %d\r\n\r\n"
    return b"--ffmpeg\r\n" + b"".join(head % len(one) + one + b"\r\n--ffmpeg\r\n" for one in frames)


def read(stream: Any, data: bytes, step: int) -> list[bytes]:
    return [one for at in range(0, len(data), step) for one in stream.feed_untrusted(data[at : at + step])]


@given(frames=some.lists(some.binary(min_size=1, max_size=MOST), max_size=5), step=some.integers(1, 700))
def test_what_was_written_is_read_in_any_pieces(frames: list[bytes], step: int) -> None:
    assert read(MultipartFrames(MOST), written(frames), step) == frames


@given(data=some.binary(max_size=3 * HEADER_BYTES), step=some.integers(1, 700))
def test_any_bytes_are_frames_or_the_one_error(data: bytes, step: int) -> None:
    stream = MultipartFrames(MOST)
    try:
        found = read(stream, data, step)
    except DamagedStreamError:
        return
    assert all(0 < len(one) <= MOST for one in found)
    assert len(stream._rest) <= MOST + HEADER_BYTES + step, "no more is kept than one frame"


@pytest.mark.parametrize(
    "text",
    [
        b"x" * HEADER_BYTES,
        b"Content-type: image/jpeg\r\n\r\n",
        b"Content-length: 0\r\n\r\n",
        b"Content-length: -5\r\n\r\n",
        b"Content-length: 1001\r\n\r\n",
        b"Content-length: 9999999999999999\r\n\r\n",
        b"X-Content-length: 5\r\n\r\nabcde",
    ],
)
def test_what_is_no_picture_is_told(text: bytes) -> None:
    with pytest.raises(DamagedStreamError):
        MultipartFrames(MOST).feed_untrusted(text)


@given(data=some.binary(max_size=100), size=some.integers(1, 20), step=some.integers(1, 30))
def test_raw_frames_have_one_size(data: bytes, size: int, step: int) -> None:
    whole = len(data) // size
    assert read(RawFrames(size), data, step) == [data[at * size : (at + 1) * size] for at in range(whole)]
