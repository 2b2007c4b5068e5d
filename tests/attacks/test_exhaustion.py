"""Attacked sentence: every queue, descriptor and byte is charged to a peer; a loop can use up only its own."""

from __future__ import annotations

import threading

from attackers.arena import VICTIM, Arena


def state(arena: Arena) -> tuple[int, object]:
    primary = arena.host.loop("primary")
    return primary["restarts"], primary["last_death"]


def test_connections_without_end(arena: Arena) -> None:
    """One loop's silent connections; meanwhile clients still get in through the door."""
    done: list[int] = []
    hold = threading.Thread(target=lambda: done.append(arena.third.do("hold_connections", 230, 3.0)))
    hold.start()
    while "holding" not in arena.news("third"):
        assert hold.is_alive()
    for _ in range(20):
        client = arena.host.client()
        assert client.call(VICTIM, "value") == arena.total
        client.close()
    hold.join()
    assert done == [230]
    arena.unharmed()
