"""Attacked sentence: a function on peer bytes cannot fail; what is no frame costs its sender its message, no more."""

from __future__ import annotations

import msgpack
import pytest
from attackers.arena import Arena, header_of

from tlsrt.channels.frames.frame import (
    BODY_MAX,
    FRAME_MAX,
    HEADER_MAX,
    MESSAGE_MAX,
    TOKEN_MAX,
    FrameKind,
    pack_frame,
)
from tlsrt.supervisor.process import proc

ARRAY_OF_4_G = b"\xdd\xff\xff\xff\xff"
BIN_OF_4_GIB = b"\xc6\xff\xff\xff\xff"
DEEP = b"\x91" * 100_000
MESSAGES = {
    "nothing": (b"", "not_msgpack"),
    "one byte": (b"\x94", "not_msgpack"),
    "another protocol": (b"GET / HTTP/1.1\r\n\r\n", "not_msgpack"),
    "nesting 100,000 deep": (DEEP + b"\x00", "not_msgpack"),
    "nesting 100,000 deep that starts like a frame": (b"\x94" + DEEP, "not_msgpack"),
    "nesting of maps": (b"\x81\x00" * 50_000, "not_msgpack"),
    "an array that claims 4 G elements": (ARRAY_OF_4_G, "not_msgpack"),
    "a map that claims 4 G pairs": (b"\xdf\xff\xff\xff\xff", "not_msgpack"),
    "a frame whose header claims 4 GiB": (b"\x94" + BIN_OF_4_GIB, "not_msgpack"),
    "an extension that claims 4 GiB": (b"\xc9\xff\xff\xff\xff\x05", "not_msgpack"),
    "a batch of more frames than allowed": (msgpack.packb([1] + [b""] * 257), "not_msgpack"),
    "a batch of a batch": (msgpack.packb([1, [1, b""]]), "not_a_message"),
    "a batch without frames": (msgpack.packb([1]), "not_a_message"),
    "a batch of another version": (msgpack.packb([2, b"x"]), "not_a_message"),
    "a frame of three parts": (msgpack.packb([b"", b"", b""]), "not_a_message"),
    "a frame of texts": (msgpack.packb(["", "", "", ""]), "not_a_frame"),
    "a frame of five parts": (msgpack.packb([b"", b"", b"", b"", b""]), "not_a_message"),
    "a frame with a byte behind it": (msgpack.packb([b"", b"", b"", b""]) + b"\x00", "not_msgpack"),
    "a frame of nothing": (pack_frame(b"", b"", b"", b""), "not_msgpack"),
    "a header that is too long": (pack_frame(bytes(HEADER_MAX + 1), b"", b"", b""), "oversize"),
    "a token that is too long": (pack_frame(b"\x90", bytes(TOKEN_MAX + 1), b"", b""), "oversize"),
    "a header that is an empty array": (pack_frame(b"\x90", b"", b"", b""), "not_a_header"),
    "a header that nests": (pack_frame(b"\x91" * 400, b"", b"", b""), "not_msgpack"),
    "a header that claims 4 G fields": (pack_frame(ARRAY_OF_4_G, b"", b"", b""), "not_msgpack"),
    "a header of fifteen fields": (pack_frame(msgpack.packb([1] * 15), b"", b"", b""), "not_a_header"),
    "a header that is a map": (pack_frame(b"\x81\x01\x01", b"", b"", b""), "not_msgpack"),
}


@pytest.mark.parametrize(("message", "reason"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_that_is_no_frame(arena: Arena, message: bytes, reason: str) -> None:
    arena.third.send(message)
    arena.refused(reason, told=[])


@pytest.mark.parametrize("size", [FRAME_MAX + 1, MESSAGE_MAX], ids=["one frame", "one message"])
def test_a_frame_that_is_larger_than_any(arena: Arena, size: int) -> None:
    arena.third.do("transmit_filler", size)
    arena.refused("oversize", told=[])


@pytest.mark.parametrize("size", [MESSAGE_MAX + 1, 64 << 20, 1 << 62], ids=["by one byte", "64 MiB", "4 EiB"])
def test_a_zeromq_message_over_the_limit_ends_its_connection_and_nothing_else(arena: Arena, size: int) -> None:
    before = memory_kib(arena)
    assert arena.third.do("speak_zmtp", bytes(1000), size)
    arena.refused("zmtp_oversize", told=[])
    assert memory_kib(arena) < before + 8 * 1024


def test_a_message_that_never_ends_costs_no_memory(arena: Arena) -> None:
    """32 MiB of parts of one message: each is dropped when it has come."""
    before = memory_kib(arena)
    part = b"\x03" + (64 * 1024).to_bytes(8, "big") + bytes(64 * 1024)
    assert arena.third.do("speak_without_end", part, 512) == 512 * len(part)
    arena.refused("multipart", told=[])
    assert memory_kib(arena) < before + 8 * 1024
    assert arena.host.loop("primary")["restarts"] == 0


def memory_kib(arena: Arena) -> int:
    memory = proc.memory_kib(arena.host.pids()["primary"])
    assert memory is not None
    return memory


def test_a_message_of_many_parts(arena: Arena) -> None:
    honest = arena.third.genuine()
    arena.third.do("transmit_parts", [honest, honest, b""])
    arena.refused("multipart", told=[])
    arena.third.send(honest)  # none of its parts has been taken
    arena.total += 1
    arena.refused(told=[])


BODIES = {
    "nesting 100,000 deep": DEEP + b"\x00",
    "nesting 500 deep": b"\x93" + b"\x91" * 500 + b"\xc0\x80\xc0",
    "an array that claims 4 G elements": ARRAY_OF_4_G,
    "a map that claims 4 G pairs": b"\xdf\xff\xff\xff\xff",
    "arguments that claim 4 G elements": b"\x93" + ARRAY_OF_4_G,
    "an extension": b"\x93\xd4\x00\x00\x80\xc0",
    "a map with keys that are no names": msgpack.packb([[], {1: 1}, None]),
    "a text that is not UTF-8": b"\x93\x91\xa2\xff\xfe\x80\xc0",
    "a number where a list belongs": msgpack.packb(7),
    "an idempotency key of a megabyte, in part": msgpack.packb([[], {}, "x" * 129]),
    "nothing": b"",
    "the largest body": bytes(BODY_MAX // 2),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_hostile_body_under_good_keys_is_an_error_of_its_call_alone(arena: Arena, body: bytes) -> None:
    arena.third.send(arena.third.forge(arena.third.header(), body))
    arena.unharmed()
    assert [header_of(frame).kind for frame in arena.third.heard()] == [FrameKind.ERROR]
    arena.refused(told=[])
