"""Frames: round trips, batches, and every malformed shape is the one error."""

from __future__ import annotations

import msgpack
import pytest
from fakes.memory_host import MemoryHost

from tlsrt.channels.frames import frame as frames
from tlsrt.channels.frames.frame import (
    BATCH_FRAME_MAX,
    BODY_MAX,
    Frame,
    FrameKind,
    Header,
    join_messages,
    pack_frame,
    pack_header,
    parse_frame_untrusted,
    parse_header_untrusted,
    split_message_untrusted,
)
from tlsrt.errors import PeerError

HEADER = MemoryHost().plain_header()


def reason_of(data: bytes) -> str:
    with pytest.raises(PeerError) as caught:
        parse_header_untrusted(parse_frame_untrusted(data).header)
    return caught.value.reason


def test_round_trip() -> None:
    data = pack_frame(pack_header(HEADER), b"token", b"body", b"proof")
    assert parse_frame_untrusted(data) == Frame(pack_header(HEADER), b"token", b"body", b"proof")
    assert parse_header_untrusted(pack_header(HEADER)) == HEADER


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "unknown_version"),
        ({"version": True}, "unknown_version"),
        ({"kind": 0}, "unknown_kind"),
        ({"kind": 10}, "unknown_kind"),
        ({"session": b"short"}, "not_a_header"),
        ({"session": "x" * 16}, "not_a_header"),
        ({"seq": -1}, "out_of_range"),
        ({"seq": (1 << 32) + 1}, "out_of_range"),
        ({"seq": 1.0}, "not_a_header"),
        ({"part": True}, "not_a_header"),
        ({"src": "x" * 81}, "name_too_long"),
        ({"dst": "x" * 81}, "name_too_long"),
        ({"method": "x" * 81}, "name_too_long"),
        ({"method": b"get"}, "not_a_header"),
        ({"epoch": -1}, "out_of_range"),
        ({"deadline": None}, "not_a_header"),
        ({"correlation": b"x" * 23}, "not_a_header"),
        ({"flags": 8}, "out_of_range"),
    ],
)
def test_bad_header_fields(change: dict[str, object], reason: str) -> None:
    header = HEADER._replace(**change)  # type: ignore[arg-type]
    assert reason_of(pack_frame(pack_header(header), b"", b"", b"")) == reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        msgpack.packb({}),
        msgpack.packb([b"", b"", b""]),
        msgpack.packb([b"", b"", b"", b"", b""]),
        msgpack.packb(["", b"", b"", b""]),
        msgpack.packb([b"", b"", b"", None]),
        msgpack.packb([b"", b"", b"", msgpack.ExtType(1, b"")]),
        msgpack.packb([b"", b"", b"", b""]) + b"\x00",
        b"\x91" * 100_000 + b"\xc0",  # nested 100,000 deep
        b"\xdd\xff\xff\xff\xff",  # an array that claims 4 G elements
        b"\xc6\xff\xff\xff\xff",  # bytes that claim 4 GiB
        b"\x94\xc4\x00\xc4\x00\xc4\x00\xc4",  # cut short
        b"x" * (frames.FRAME_MAX + 1),
    ],
)
def test_not_a_frame(data: bytes) -> None:
    with pytest.raises(PeerError):
        parse_frame_untrusted(data)


@pytest.mark.parametrize("length", [0, 1, 13, 15, 300])
def test_wrong_number_of_header_fields(length: int) -> None:
    fields = (list(HEADER) * 30)[:length]
    with pytest.raises(PeerError):
        parse_header_untrusted(msgpack.packb(fields))


def test_oversize_parts() -> None:
    for parts in ((b"x" * 513, b"", b"", b""), (b"", b"x" * 16385, b"", b""), (b"", b"", b"x" * (BODY_MAX + 17), b"")):
        with pytest.raises(PeerError, match="oversize"):
            parse_frame_untrusted(pack_frame(*parts))


def test_small_neighbours_share_a_message_and_keep_their_order() -> None:
    small = [pack_frame(pack_header(HEADER._replace(seq=n)), b"t", b"b" * n, b"p") for n in range(1, 600)]
    large = pack_frame(pack_header(HEADER), b"t", b"x" * BATCH_FRAME_MAX, b"p")
    wanted = [*small[:3], large, *small[3:]]
    messages = join_messages(wanted)
    assert messages[1] == large
    assert len(messages) < 10
    assert [frame for message in messages for frame in split_message_untrusted(message)] == wanted


def test_a_single_frame_travels_as_it_is() -> None:
    data = pack_frame(pack_header(HEADER), b"t", b"b", b"p")
    assert join_messages([data]) == [data]
    assert split_message_untrusted(data) == (data,)


def test_a_batch_of_three_is_not_taken_for_a_frame() -> None:
    data = pack_frame(pack_header(HEADER), b"t", b"b", b"p")
    (message,) = join_messages([data] * 3)
    assert message[0] == 0x94
    assert list(split_message_untrusted(message)) == [data] * 3


@pytest.mark.parametrize(
    "message",
    [b"", b"\x91\x01", msgpack.packb([1, "x"]), msgpack.packb([2, b"x"]), msgpack.packb([True, b"x"]),
     msgpack.packb([1, [b"x"]]), msgpack.packb([1] + [b""] * 300)],
)  # fmt: skip
def test_not_a_message(message: bytes) -> None:
    with pytest.raises(PeerError):
        split_message_untrusted(message)


def test_header_has_the_documented_fourteen_fields() -> None:
    assert len(Header._fields) == 14
    assert [kind.value for kind in FrameKind] == [*range(1, 10), 16, 17]


def test_the_names_of_the_requests_of_a_frame() -> None:
    one = HEADER._replace(kind=FrameKind.REQUEST, seq=9, part=0)
    assert frames.names_of(one) == [frames.correlation(one.session, 9)]
    many = one._replace(kind=FrameKind.REQUESTS, part=3)
    assert frames.names_of(many) == [frames.correlation(one.session, seq) for seq in (7, 8, 9)]
