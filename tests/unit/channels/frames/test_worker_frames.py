"""Frames between a component and its worker: both ways the same, and of any bytes a frame or the one error."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.frames.worker_frames import (
    BLOBS_MAX,
    HEAD,
    PART_MAX,
    STRUCTURE_MAX,
    Kind,
    WorkerFrame,
    WorkerFrames,
    call_untrusted,
    encode_frame,
    error_untrusted,
    methods_untrusted,
    parts_in,
)
from tlsrt.errors import InvalidArgument, PeerError

LARGE = bytes(5000)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8) | st.binary(max_size=8)
values = st.recursive(
    scalars | st.just(LARGE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def frames_of(data: bytes, size: int = 0) -> list[WorkerFrame]:
    """Return the frames in bytes that come whole, or `size` at a time."""
    reader, found = WorkerFrames(), []
    for at in range(0, len(data), size or len(data)):
        reader.feed(data[at : at + (size or len(data))])
        while (frame := reader.next_untrusted()) is not None:
            found.append(frame)
    return found


@given(st.lists(st.tuples(st.sampled_from([Kind.CALL, Kind.ITEM, Kind.RESULT]), values), max_size=4))
def test_what_is_sent_arrives_whole_or_in_pieces(sent: list[tuple[Kind, Any]]) -> None:
    data = b"".join(piece for kind, value in sent for piece in encode_frame(kind, value))
    wanted = [WorkerFrame(kind, value) for kind, value in sent]
    assert frames_of(data) == wanted if data else not wanted
    assert frames_of(data, 977) == wanted if data else True


deep: Any = []
for _ in range(31):
    deep = [deep]
odd_values = st.recursive(
    scalars | st.sampled_from([LARGE, [[]] * 8185, deep, 2**64, "\ud800", msgpack.Timestamp(1), {("a",): 1}]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers() | st.binary(max_size=4) | st.none(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from([Kind.CALL, Kind.ITEM, Kind.RESULT]), odd_values)
def test_what_is_encoded_is_always_decoded(kind: Kind, value: Any) -> None:
    try:
        data = b"".join(encode_frame(kind, value))
    except InvalidArgument:
        return
    assert frames_of(data) == [WorkerFrame(kind, value)]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_frames_or_the_one_error(data: bytes, size: int) -> None:
    found: list[object] = []
    for step in (size, len(data)):
        try:
            found.append(frames_of(data, step) if data else [])
        except PeerError as error:
            found.append(error.reason)
    assert type(found[0]) is type(found[1])


@given(st.sampled_from([*Kind]), st.binary(max_size=80), st.binary(max_size=40))
def test_any_body_is_a_frame_or_the_one_error(kind: Kind, structure: bytes, blobs: bytes) -> None:
    data = HEAD.pack(kind, len(structure), len(blobs)) + structure + blobs
    try:
        (frame,) = frames_of(data)
    except PeerError:
        return
    for read in (call_untrusted, methods_untrusted, error_untrusted):
        try:
            read(frame.value)
        except PeerError:
            continue


def test_parts_and_ends_have_no_structure_and_large_bytes_are_not_copied() -> None:
    assert encode_frame(Kind.PART, LARGE)[1] is LARGE
    assert encode_frame(Kind.CALL, ["f", [LARGE], {}, False])[1] is LARGE
    assert frames_of(b"".join(encode_frame(Kind.PART, b"x") + encode_frame(Kind.PARTS_END))) == [
        WorkerFrame(Kind.PART, b"x"),
        WorkerFrame(Kind.PARTS_END),
    ]
    assert [len(part) for part in parts_in(bytes(PART_MAX + 1))] == [PART_MAX, 1]


@pytest.mark.parametrize(
    "head",
    [
        HEAD.pack(Kind.RESULT, STRUCTURE_MAX + 1, 0), HEAD.pack(Kind.RESULT, 1, BLOBS_MAX + 1),
        HEAD.pack(Kind.PART, 0, PART_MAX + 1), HEAD.pack(Kind.PART, 1, 0), HEAD.pack(Kind.END, 0, 1),
        HEAD.pack(99, 0, 0), b"\xff" * HEAD.size,
    ],
)  # fmt: skip
def test_what_is_too_large_or_unknown_is_refused_at_its_head(head: bytes) -> None:
    with pytest.raises(PeerError):
        frames_of(head)


@pytest.mark.parametrize(
    ("value", "places", "blobs"),
    [
        (None, [[[], 2]], b"x"), (None, [[[], 1]], b"xy"), (1, [[[], 1]], b"x"), ([1], [[[0], 1]], b"x"),
        ([None], [[[1], 1]], b"x"), ([None], [[[-1], 1]], b"x"), ({"a": None}, [[["b"], 1]], b"x"),
        ([None], [[[0], 1], [[0], 1]], b"xy"), ([None], [[["0"], 1]], b"x"), ([None], [[[0], -1]], b""),
        ([None], [[[True], 1]], b"x"), (None, [[[], True]], b"x"), ([None], [[{}, 1]], b"x"), ([None], {}, b""),
    ],
)  # fmt: skip
def test_a_blob_without_a_place_is_refused(value: object, places: object, blobs: bytes) -> None:
    structure = msgpack.packb([value, places])
    with pytest.raises(PeerError):
        frames_of(HEAD.pack(Kind.RESULT, len(structure), len(blobs)) + structure + blobs)


def test_what_claims_much_builds_nothing() -> None:
    for structure in (b"\x92\xdd\xff\xff\xff\xff", b"\x91" * 1000, b"\x92" + struct.pack(">BI", 0xDF, 2**31)):
        with pytest.raises(PeerError):
            frames_of(HEAD.pack(Kind.RESULT, len(structure), 0) + structure)


def test_what_cannot_be_sent_is_refused_before_anything_is() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value, words in (
        (endless, "deep"),
        ({"a": object()}, "no data"),
        ("x" * STRUCTURE_MAX, "use a stream"),
        ([[]] * 8192, "8192 lists and maps"),
        ({1: [LARGE]}, "a key that is no str"),
        ({1: 2}, "a key that is no str"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            encode_frame(Kind.RESULT, value)
