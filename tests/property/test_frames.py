"""Parsers of peer bytes: any byte string parses or raises the one error; what was packed comes back."""

from __future__ import annotations

import msgpack
import pytest
from fakes.memory_host import MemoryHost, parts
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.life import LIFE, LoopState
from tlsrt.channels.control.seqpacket import MessageTable
from tlsrt.channels.control.trust import TRUST
from tlsrt.channels.frames import frame as frames
from tlsrt.channels.frames.body import (
    decode_count_untrusted,
    decode_error_untrusted,
    decode_request_untrusted,
    decode_value_untrusted,
    encode_request,
    encode_value,
)
from tlsrt.channels.frames.frame import (
    FrameKind,
    Header,
    pack_frame,
    pack_header,
    parse_frame_untrusted,
    parse_header_untrusted,
)
from tlsrt.channels.session.token import parse_claims_untrusted
from tlsrt.errors import PeerError

U32 = st.integers(0, (1 << 32) - 1)
U64 = st.integers(0, (1 << 64) - 1)
NAMES = st.text(max_size=80)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
ALMOST = VALUES.map(msgpack.packb) | st.binary(max_size=200)
SINGLES = [int(kind) for kind in FrameKind if kind not in frames.BUNDLES]
HEADERS = st.builds(
    Header, st.just(1), st.sampled_from(SINGLES), st.binary(min_size=16, max_size=16), U32, U64,
    NAMES, NAMES, U64, U64, NAMES, U64, U64, st.just(b"") | st.binary(min_size=24, max_size=24), st.integers(0, 7),
)  # fmt: skip


@given(HEADERS)
def test_headers_come_back(header: Header) -> None:
    """All of them, but for a part in a kind that has none."""
    if header.part and header.kind not in (FrameKind.ITEM, FrameKind.PART, FrameKind.REFUSAL):
        with pytest.raises(PeerError, match="out_of_range"):
            parse_header_untrusted(pack_header(header))
        header = header._replace(part=0)
    assert parse_header_untrusted(pack_header(header)) == header


@given(st.binary(max_size=512), st.binary(max_size=1000), st.binary(max_size=1000), st.binary(max_size=16))
def test_frames_come_back(header: bytes, token: bytes, body: bytes, proof: bytes) -> None:
    assert parse_frame_untrusted(pack_frame(header, token, body, proof)) == (header, token, body, proof)


@given(ALMOST)
@settings(max_examples=300)
def test_any_bytes_parse_or_raise_the_one_error(data: bytes) -> None:
    for parser in (
        parse_frame_untrusted, parse_header_untrusted, frames.split_message_untrusted, parse_claims_untrusted,
        decode_value_untrusted, decode_request_untrusted, decode_error_untrusted, decode_count_untrusted,
    ):  # fmt: skip
        try:
            parser(data)
        except PeerError:
            continue


@given(
    st.sampled_from([LIFE, TRUST, AUTHORITY_CHANNEL]),
    ALMOST,
    st.sampled_from(["loop", "primary", "supervisor", "authority"]),
)
def test_control_tables_take_any_bytes(table: MessageTable, data: bytes, sender: str) -> None:
    try:
        name, fields = table.decode_untrusted(data, sender, LoopState.ACTIVE)
    except PeerError:
        return
    assert sender in table.by_name[name].who
    assert len(fields) == len(table.by_name[name].types)


@given(st.binary(max_size=400))
def test_the_gate_never_fails(data: bytes) -> None:
    world = MemoryHost()
    assert not world.gate.check_untrusted(data, world.origin("third/console"), world.now).passed


@given(HEADERS, st.binary(max_size=64))
def test_the_gate_never_fails_on_well_formed_lies(header: Header, body: bytes) -> None:
    world = MemoryHost()
    data = world.forge("third/console", header, body, request_key=bytes(32), proof_key=bytes(32))
    assert not world.gate.check_untrusted(data, world.origin("third/console"), world.now).passed


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_bit_flips_never_reach_a_handler(position: int, bit: int) -> None:
    world = MemoryHost()
    data = world.request(body=b"body")
    bad = bytearray(data)
    bad[position % len(bad)] ^= 1 << bit
    try:
        frame = parse_frame_untrusted(bytes(bad))
        header = parse_header_untrusted(frame.header)
        world.endpoints["secondary/store"].open_untrusted(frame, header, world.now)
    except PeerError:
        return
    assert frame.proof != parts(data).proof  # the proof is the gate's to check


@given(
    st.lists(VALUES, max_size=3),
    st.dictionaries(st.text(max_size=8), VALUES, max_size=3),
    st.none() | st.text(min_size=1, max_size=128),
    st.none() | st.integers(0, (1 << 64) - 1),
)
def test_requests_come_back(args: list[object], kwargs: dict[str, object], key: str | None, tried: int | None) -> None:
    asked = key if key is None or tried is None else (key, tried)
    expected = (args, kwargs, key, tried if key is not None else None)
    assert decode_request_untrusted(encode_request(args, kwargs, asked)) == expected


@given(VALUES)
def test_values_come_back(value: object) -> None:
    assert decode_value_untrusted(encode_value(value)) == value


@given(st.lists(st.binary(min_size=1, max_size=20_000), max_size=40))
def test_coalescing_keeps_frames_and_order(bodies: list[bytes]) -> None:
    packed = [pack_frame(b"h", b"t", body, b"p") for body in bodies]
    messages = frames.join_messages(packed)
    assert [frame for message in messages for frame in frames.split_message_untrusted(message)] == packed
