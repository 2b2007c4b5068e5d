"""Answers of chronyd: as it writes them, and of one that lies."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.secondary import chrony
from tlsrt.loops.secondary.chrony import NoAnswer, ask, number, question, tracking_untrusted

ADDRESS = ip_address("192.0.2.7").packed.ljust(16, b"\0")


def bits(value: float) -> int:
    """Return a number as chronyd writes it: a coefficient below 2^24, and an exponent."""
    if not value:
        return 0
    coefficient, exponent = math.frexp(value)
    return ((exponent + 1) % 128) << 25 | round(coefficient * (1 << 24)) % (1 << 25)


def answer(
    sequence: int = 7, *, leap: int = 0, stratum: int = 3, family: int = 1, address: bytes = ADDRESS, status: int = 0,
    reply: int = 5, reference: int = 0xC0000207,
) -> bytes:  # fmt: skip
    numbers = [0.02, 0.001, 0.0005, 12.5, 0.1, 0.2, 0.004, 0.001, 64.0]
    head = struct.pack(">BBHHHHHHHIII", 6, 2, 0, 33, reply, status, 0, 0, 0, sequence, 0, 0)
    body = struct.pack(">I16sHHHHIII", reference, address, family, 0, stratum, leap, 0, 1_796_155_200, 500_000_000)
    return head + body + struct.pack(">9I", *map(bits, numbers))


def test_an_answer_is_what_it_says() -> None:
    found = tracking_untrusted(answer(), 7)
    assert found["is_synchronised"] is True and found["server"] == "192.0.2.7" and found["stratum"] == 3
    assert found["offset_ms"] == pytest.approx(20) and found["uncertainty_ms"] == pytest.approx(3)
    assert found["drift_ppm"] == pytest.approx(-12.5) and found["jitter_ms"] == pytest.approx(0.5)
    assert found["poll_s"] == 64 and found["last_sync_wall_ms"] == 1_796_155_200_500


def test_a_question_is_no_shorter_than_its_answer() -> None:
    assert len(question(7)) == len(answer())


@pytest.mark.parametrize(
    ("more", "server"),
    [
        ({"family": 2, "address": ip_address("2001:db8::7").packed}, "2001:db8::7"),
        ({"family": 0, "reference": 0x50505300}, "PPS"), ({"family": 0, "reference": 0x1B5B324A}, None),
    ],
)  # fmt: skip
def test_a_server_is_an_address_or_a_clock(more: dict[str, Any], server: str | None) -> None:
    assert tracking_untrusted(answer(**more), 7)["server"] == server


@pytest.mark.parametrize("more", [{"leap": 3}, {"stratum": 0}, {"stratum": 16}])
def test_without_a_source_nothing_else_is_said(more: dict[str, Any]) -> None:
    found = tracking_untrusted(answer(**more), 7)
    assert found.pop("is_synchronised") is False and set(found.values()) == {None}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "too short"), (answer()[:-1], "too short"), (answer(8), "no question of ours"),
        (answer(status=2), "refuses the question with status 2"), (answer(reply=1), "refuses"),
        (b"\x05" + answer()[1:], "no question of ours"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(NoAnswer, match=says):
        tracking_untrusted(data, 7)


@given(st.binary(min_size=76, max_size=76))
def test_any_numbers_are_finite(tail: bytes) -> None:
    found = tracking_untrusted(answer()[:28] + tail, 7)
    assert all(math.isfinite(value) for value in found.values() if isinstance(value, float))


@given(st.floats(-1e6, 1e6).filter(lambda value: abs(value) > 1e-9))
def test_a_number_comes_back(value: float) -> None:
    assert number(bits(value)) == pytest.approx(value, rel=1e-6)


def test_a_port_without_chronyd_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NoAnswer, match="does not run"):
        asyncio.run(ask("127.0.0.1", port))


def test_one_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chrony, "ANSWER_S", 0.02)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(NoAnswer, match="does not answer"):
            asyncio.run(ask("127.0.0.1", silent.getsockname()[1]))
