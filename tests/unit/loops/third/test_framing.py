"""Frames on a line: round trips, however the bytes come, and what is damaged or too long is left out and counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.third.framing import Cobs, Delimited, Framing, LengthPrefixed, Slip, TextLines

MOST = 600
MAKERS: dict[str, Callable[[], Framing]] = {
    "lines": lambda: TextLines(b"\n", MOST),
    "delimited": lambda: Delimited(b"\r\n\0", MOST),
    "length": lambda: LengthPrefixed(2, "big", MOST),
    "slip": lambda: Slip(MOST),
    "cobs": lambda: Cobs(MOST),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@makers
@given(frames=st.lists(st.binary(max_size=MOST), max_size=5), size=st.integers(1, 50))
def test_round_trip_however_the_bytes_come(make: Callable[[], Framing], frames: list[bytes], size: int) -> None:
    framing, sent, kept = make(), b"", []
    for frame in frames:
        try:
            sent += framing.encode(frame)
        except ValueError:
            continue
        kept.append(frame.removesuffix(b"\r") if isinstance(framing, TextLines) else frame)
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    assert list(itertools.chain(*map(framing.feed, pieces))) == kept
    assert framing.damaged == 0


@makers
@given(data=st.binary(max_size=3000), size=st.integers(1, 700))
def test_any_bytes_are_frames_in_bounded_memory(make: Callable[[], Framing], data: bytes, size: int) -> None:
    whole, parts = make(), make()
    frames = whole.feed(data)
    assert all(len(frame) <= MOST for frame in frames)
    assert [one for at in range(0, len(data), size) for one in parts.feed(data[at : at + size])] == frames
    assert len(vars(parts)["_rest"]) <= 2 * MOST + 4
    parts.reset()
    assert not parts.is_inside


@pytest.mark.parametrize("data", [bytes(254), b"\1" * 254, b"\1" * 255, b"\1" * 508, b"\1" * 254 + b"\0", b"", b"\0"])
def test_edges_of_cobs(data: bytes) -> None:
    framing = Cobs(MOST)
    coded = framing.encode(data)
    assert b"\0" not in coded[:-1] and framing.feed(coded) == ([data] if coded != b"\0" else [])


def test_vectors_of_cobs_and_slip() -> None:
    assert Cobs(MOST).encode(b"\x11\x22\0\x33") == b"\x03\x11\x22\x02\x33\0"
    assert Cobs(MOST).encode(b"\0") == b"\x01\x01\0"
    assert Slip(MOST).encode(b"\xc0\xdb") == b"\xc0\xdb\xdc\xdb\xdd\xc0"


def test_what_is_damaged_is_counted_and_the_next_frame_found() -> None:
    slip, cobs, lines, length = Slip(4), Cobs(4), TextLines(b"\n", 4), LengthPrefixed(1, "big", 4)
    assert slip.feed(b"\xc0a\xdbb\xc0" + b"x" * 100 + b"\xc0ok\xc0") == [b"ok"] and slip.damaged == 2
    assert cobs.feed(b"\x09a\0\x03ok\0") == [b"ok"] and cobs.damaged == 1
    assert lines.feed(b"too long\nok\n") == [b"ok"] and lines.damaged == 1
    assert length.feed(b"\xffgarbage\x02ok") == [] and length.damaged == 1 and length.is_inside
    length.reset()  # a silence
    assert length.feed(b"\x02ok") == [b"ok"]
