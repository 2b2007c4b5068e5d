"""What a broker may send: the sizes and kinds of packets, in any pieces."""

from __future__ import annotations

import pytest

from tlsrt.loops.external.packet_guard import PACKET_BYTES, PacketError, PacketGuard

PUBLISH_0, PUBLISH_1, PUBLISH_2 = b"\x30", b"\x32", b"\x34"


def fed(data: bytes, piece: int) -> None:
    guard = PacketGuard()
    for at in range(0, len(data), piece):
        guard.feed(data[at : at + piece])


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 4096, 1 << 20])
def test_what_is_good_passes_in_any_pieces(piece: int) -> None:
    body = b"\x34\xff" * 100  # within a body these bytes mean nothing
    length = bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
    fed((PUBLISH_1 + length + body + b"\xd0\x00" + PUBLISH_0 + length + body) * 3, piece)


@pytest.mark.parametrize("piece", [1, 5])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PUBLISH_2 + b"\x05", "QoS 2"),
        (b"\xd0\x00\x3c\x02", "QoS 2"),  # repeated, too, and behind another packet
        (PUBLISH_1 + b"\xff\xff\xff\x7f", "a packet of 268435455 bytes"),
        (PUBLISH_0 + b"\x81\x80\x08", f"a packet of {PACKET_BYTES + 1} bytes"),
        (b"\x90\xff\xff\xff\xff", "no end"),
    ],
)
def test_what_is_too_large_or_was_not_asked_for_ends_the_connection(data: bytes, words: str, piece: int) -> None:
    with pytest.raises(PacketError, match=words):
        fed(data, piece)
    fed(PUBLISH_0 + b"\x80\x80\x08", piece)  # the most
