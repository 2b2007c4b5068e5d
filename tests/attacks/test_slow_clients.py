"""Attacked sentence: whoever says nothing, or next to nothing, costs a little memory for five seconds and nobody else.

All of loopback is ours, so the attacker has as many addresses as he likes.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest
from support.attack import VICTIM, Arena

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # as it begins
TOTAL, PER_ADDRESS, DEADLINE_S = 256, 16, 5.0
SILENT_MAX = 20 * 1024  # bytes of Primary's memory for one


def knock(port: int, number: int, per_address: int = PER_ADDRESS) -> socket.socket:
    """Connect from one of our addresses, each of which is used so often."""
    source = f"127.1.{number // per_address // 250}.{number // per_address % 250 + 1}"
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def is_cut(sock: socket.socket) -> bool:
    sock.settimeout(DEADLINE_S + 5)
    try:
        return sock.recv(64) in (b"",) or is_cut(sock)
    except ConnectionError:
        return True


def test_five_hundred_who_say_nothing(arena: Arena, stack: ExitStack) -> None:
    """They are cut after the deadline, and one who was there before hardly notices."""
    primary = psutil.Process(arena.host.pids()["primary"])
    client = arena.host.client()
    client.call(VICTIM, "value")
    before, began = primary.memory_info().rss, time.monotonic()
    silent = [stack.enter_context(knock(arena.host.port, number)) for number in range(500)]
    times = []
    while time.monotonic() < began + DEADLINE_S:
        start = time.monotonic()
        client.call(VICTIM, "value", timeout_s=10)
        times.append(time.monotonic() - start)
    grown = primary.memory_info().rss - before
    assert all(is_cut(sock) for sock in silent)
    assert time.monotonic() - began < 2 * DEADLINE_S + 5
    times.sort()
    assert times[int(len(times) * 0.99)] < 0.1 and len(times) > 100
    assert grown < TOTAL * SILENT_MAX


def test_one_byte_a_second_is_no_handshake(arena: Arena, stack: ExitStack) -> None:
    """The deadline is for the whole handshake, not from one byte to the next."""
    slow = [stack.enter_context(knock(arena.host.port, number)) for number in range(TOTAL)]
    cut: list[float] = []
    began = time.monotonic()

    def trickle() -> None:
        living = dict.fromkeys(slow)
        for byte in HELLO * 2:
            for sock in list(living):
                try:
                    sock.send(bytes([byte]))
                except ConnectionError:
                    cut.append(time.monotonic() - began)
                    del living[sock]
            if not living:
                return
            threading.Event().wait(0.5)

    feeder = threading.Thread(target=trickle)
    feeder.start()
    client = arena.host.client()  # a newcomer, while there is no room
    assert client.call(VICTIM, "value", timeout_s=10) >= 0
    feeder.join(30)
    assert len(cut) == len(slow) and max(cut) < 2 * DEADLINE_S + 2


def test_a_newcomer_finds_room_though_all_is_full(arena: Arena, stack: ExitStack) -> None:
    """One of the address that has most makes room; in what was left, the attacker shuts out himself."""
    for number in range(TOTAL):
        stack.enter_context(knock(arena.host.port, number))
    client = arena.host.client()
    assert client.call(VICTIM, "value", timeout_s=4) >= 0
    assert "crowded_out from 127.1." in arena.host.log("primary")


def test_the_17th_of_an_address_is_cut_at_once(arena: Arena, stack: ExitStack) -> None:
    socks = [stack.enter_context(knock(arena.host.port, 0)) for _ in range(PER_ADDRESS)]
    with knock(arena.host.port, 0) as one_more:
        began = time.monotonic()
        assert is_cut(one_more) and time.monotonic() - began < DEADLINE_S / 2
    assert socks
