"""Attacked sentence: whoever says nothing, or next to nothing, costs a little memory for five seconds and nobody else.

All of loopback is ours, so the attacker has as many addresses as he likes.
"""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest
from attackers.arena import VICTIM, Arena

from tlsrt.channels.tls.connection import ConnectionLimits
from tlsrt.loops.door.fair_pool import LATE_S

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # as it begins
TOTAL, PER_ADDRESS, DEADLINE_S = 256, 16, 5.0
HELLO_S = ConnectionLimits().hello_s
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


class Lateness:
    """How late this machine wakes a process that wants nothing else: what every wake-up of a call waits for too."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._measure)

    def __enter__(self) -> Lateness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _measure(self) -> None:
        before = time.monotonic()
        while not self._end.wait(0.002):
            now = time.monotonic()
            self._late.append(now - before - 0.002)
            before = now

    def p99(self) -> float:
        return p99(self._late)


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def test_five_hundred_who_say_nothing_and_five_hundred_who_say_a_byte_a_second(arena: Arena, stack: ExitStack) -> None:
    """All are cut after five seconds, and one who was there before hardly notices, nor one who comes meanwhile."""
    primary = psutil.Process(arena.host.pids()["primary"])
    client, port = arena.host.client(), arena.host.port
    client.call(VICTIM, "value")
    before = primary.memory_info().rss
    crowd = [stack.enter_context(knock(port, number)) for number in range(1000)]
    began = time.monotonic()
    living, end = dict.fromkeys(crowd[1::2]), threading.Event()

    def trickle() -> None:
        for byte in HELLO:
            for sock in list(living):
                try:
                    sock.send(bytes([byte]))
                except ConnectionError:
                    del living[sock]
            if not living or end.wait(1.0):
                return

    feeder = threading.Thread(target=trickle)
    feeder.start()
    times: list[float] = []
    grown = 0
    with Lateness() as lateness:
        while time.monotonic() < began + DEADLINE_S:
            start = time.monotonic()
            client.call(VICTIM, "value", timeout_s=10)
            times.append(time.monotonic() - start)
            grown = max(grown, primary.memory_info().rss - before)
    assert arena.host.client().call(VICTIM, "value", timeout_s=10) >= 0, "a newcomer"
    assert all(is_cut(sock) for sock in crowd)
    assert time.monotonic() - began < 2 * DEADLINE_S + 5
    end.set()
    feeder.join(30)
    assert len(times) > 50 and p99(times) < 0.1 + 4 * lateness.p99(), (p99(times), lateness.p99())  # four wake-ups
    assert grown < TOTAL * SILENT_MAX


def test_a_newcomer_finds_room_though_all_is_full(arena: Arena, stack: ExitStack) -> None:
    """One of the address that has most makes room; in what was left, the attacker shuts out himself."""
    for number in range(TOTAL):
        stack.enter_context(knock(arena.host.port, number))
    client = arena.host.client()
    assert client.call(VICTIM, "value", timeout_s=20) >= 0
    assert "crowded_out from 127.1." in arena.host.log("primary")


def test_those_that_say_nothing_are_cut_before_those_that_take_their_time(arena: Arena, stack: ExitStack) -> None:
    """The 17th of an address cuts the oldest, whose first flight is late, before the deadline of that flight does."""
    for number in range(3):  # a machine that itself took too long shows nothing: then from another address
        address, began = 200 + number, time.monotonic()
        socks = [stack.enter_context(knock(arena.host.port, address * PER_ADDRESS)) for _ in range(PER_ADDRESS)]
        ready, _, _ = select.select(socks, [], [], LATE_S + 0.1)
        took = time.monotonic() - began
        socks.append(stack.enter_context(knock(arena.host.port, address * PER_ADDRESS)))
        if took < HELLO_S - 0.2:
            break
    assert took < HELLO_S - 0.2 and ready == [], "they stay until one more comes"
    assert all(is_cut(sock) for sock in socks) and time.monotonic() - began < DEADLINE_S
    reasons = re.findall(rf"(\w+) from 127\.1\.0\.{address + 1}\b", arena.host.log("primary"))
    assert reasons[0] == "crowded_out" and "hello_timeout" in reasons[1:], reasons
