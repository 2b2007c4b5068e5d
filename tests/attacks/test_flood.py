"""Attacked sentence: a loop that stops behaving harms itself; everybody else is answered in bounded time."""

from __future__ import annotations

import threading
import time

from attackers.arena import VICTIM, Arena

MESSAGES = 10_000
P99_S = 0.25  # alone it is about 2 ms; the bound is for a busy machine of two processors


def flooded(arena: Arena, message: bytes, count: int) -> float:
    """Let third send the same message again and again; return the 99th percentile of honest calls meanwhile, in s."""
    client, times = arena.host.client(), [0.0]
    flood = threading.Thread(target=arena.third.do, args=("flood", message, count))
    flood.start()
    while flood.is_alive() or len(times) < 50:
        start = time.monotonic()
        client.call(VICTIM, "value")
        times.append(time.monotonic() - start)
    flood.join()
    arena.unharmed()
    return sorted(times)[len(times) * 99 // 100]


def test_ten_thousand_messages_of_garbage(arena: Arena) -> None:
    garbage = b"garbage." * 8  # a connection ends with the 257th of shorter messages, see test_budgets.py
    assert flooded(arena, garbage, MESSAGES) < P99_S
    arena.provoked["primary"] += MESSAGES
    arena.settle()
    assert 0 < arena.news("primary").count("refused a frame") < MESSAGES / 20, "a flood must not fill the log"
    assert arena.host.loop("primary")["restarts"] == 0
