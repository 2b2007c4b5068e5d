"""Figures of the door."""

from __future__ import annotations

from tlsrt.loops.doorway.figures import OTHER, REASONS_MOST, bounded, door_lines


def test_lines() -> None:
    lines = [*door_lines({"handshakes": 5, "idle": 2}, 1, 0)]
    assert ("tlsrt_door_ended_connections", ["idle"], 2) in lines
    assert ("tlsrt_door_handshakes", [], 5) in lines


def test_reasons_have_an_end_and_none_is_lost() -> None:
    counts = {f"r{number}": 1 for number in range(REASONS_MOST + 10)}
    found = bounded(counts)
    assert len(found) == REASONS_MOST + 1 and found[OTHER] == 10 and sum(found.values()) == len(counts)
    assert [*bounded({**counts, "new": 1})] == [*found]
