"""Messages on the TLS byte stream: bounded, table-driven, and the same however they are cut."""

from __future__ import annotations

import msgpack
import pytest

from tlsrt.channels.frames.frame import pack_frame
from tlsrt.channels.tls import message_stream
from tlsrt.channels.tls.message_stream import Control, StreamReader
from tlsrt.errors import MisuseError, PeerError

SAMPLES: dict[str, tuple[str, tuple[object, ...]]] = {
    "challenge": ("server", (b"i" * 16, b"b" * 16, b"c" * 32, 1_234)),
    "granted": ("server", (1, b"x" * 900, b"s" * 64)),
    "succession": ("server", (b"s" * 208,)),
    "locked": ("server", (b"i" * 16, b"b" * 16, b"l" * 16)),
    "refused": ("server", ("rejected",)),
    "renewed": ("server", (b"c" * 700, b"s" * 64)),
    "not_renewed": ("server", ("rejected",)),
    "goodbye": ("server", ("draining",)),
    "open": ("client", (b"o" * 700, b"s" * 72)),
    "renew": ("client", (b"r" * 400, b"s" * 72)),
    "ask_unlock": ("client", ()),
    "unlock": ("client", (b"c" * 700, b"s" * 72)),
    "lock": ("client", (b"c" * 700, "seen at the gate", b"s" * 72)),
}


def test_every_message_has_a_sample() -> None:
    assert SAMPLES.keys() == message_stream.TABLE.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_control_round_trip_and_direction(name: str) -> None:
    sender, fields = SAMPLES[name]
    payload = message_stream.encode_control(name, *fields)
    assert message_stream.parse_control_untrusted(payload, sender) == Control(name, fields)
    assert not message_stream.is_frame(payload)
    with pytest.raises(PeerError, match="wrong_direction"):
        message_stream.parse_control_untrusted(payload, "client" if sender == "server" else "server")


@pytest.mark.parametrize("name", SAMPLES)
def test_control_fields_are_checked(name: str) -> None:
    sender, fields = SAMPLES[name]
    wrong: list[tuple[object, ...]] = [(*fields, 1), *([fields[:-1]] if fields else [])]
    for position, field in enumerate(fields):
        bad = ("x", -1, None, True, b"", [field]) if isinstance(field, int) else (b"", "", 7, None, [field])
        wrong += [(*fields[:position], value, *fields[position + 1 :]) for value in bad]
        if not isinstance(field, int):
            wrong.append((*fields[:position], field * 5000, *fields[position + 1 :]))  # type: ignore[operator]
    for bad_fields in wrong:
        with pytest.raises(MisuseError):
            message_stream.encode_control(name, *bad_fields)
        with pytest.raises(PeerError, match=r"bad_fields|oversize"):
            message_stream.parse_control_untrusted(msgpack.packb((name, *bad_fields)), sender)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1", b"", b"\x90", b"\x91\x01", msgpack.packb(["nothing"]), msgpack.packb({"open": 1}), b"\x91" * 500,
        b"\xdd\xff\xff\xff\xff\xa4open", msgpack.packb(["goodbye", {"a": 1}]), b"\x92\xa7goodbye\xa1\xff",
    ],
)  # fmt: skip
def test_control_garbage(payload: bytes) -> None:
    with pytest.raises(PeerError):
        message_stream.parse_control_untrusted(payload, "server")


def test_frames_are_told_from_control() -> None:
    for size in (0, 300, 70_000):
        assert message_stream.is_frame(pack_frame(b"h" * size, b"", b"", b""))
    for payload in (b"", b"\x94", b"\x94\xa4open", b"\x93\xc4\x01x", msgpack.packb([1, b"", b"", b""])):
        assert not message_stream.is_frame(payload)


def test_reader_cuts_and_keeps_the_rest() -> None:
    reader = StreamReader(100)
    data = message_stream.wrap(b"one") + message_stream.wrap(b"two") + message_stream.wrap(b"three")[:-1]
    assert list(reader.feed_untrusted(data)) == [b"one", b"two"]
    assert list(reader.feed_untrusted(b"e")) == [b"three"]


@pytest.mark.parametrize("length", [0, 101, 1 << 31, (1 << 32) - 1])
def test_reader_refuses_a_length_at_once(length: int) -> None:
    reader = StreamReader(100)
    payloads = reader.feed_untrusted(message_stream.wrap(b"fine") + length.to_bytes(4, "big"))
    assert next(payloads) == b"fine"
    with pytest.raises(PeerError, match="bad_length"):
        next(payloads)


def test_reader_takes_a_new_cap_between_payloads() -> None:
    reader = StreamReader(4)
    payloads = reader.feed_untrusted(message_stream.wrap(b"open") + message_stream.wrap(b"x" * 50))
    assert next(payloads) == b"open"
    reader.cap = 50
    assert next(payloads) == b"x" * 50
