"""The order in which processes end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from tlsrt.supervisor.supervision.shutdown import ending_order


@dataclass
class NamedLoop:
    name: str


STARTED = ["primary", "primary.facts", "secondary", "third", "forth", "forth.machine", "forth.policy", "external"]


def order(*holders: str) -> list[str]:
    loops = cast("Any", [NamedLoop(name) for name in STARTED])
    return [loop.name for loop in ending_order(loops, holders)]


def test_forth_ends_behind_primary_and_the_others_in_reverse() -> None:
    assert order() == [*reversed([name for name in STARTED if name[:5] != "forth"]),
                       "forth.policy", "forth.machine", "forth"]  # fmt: skip


def test_who_may_end_the_host_ends_last_in_forth_and_nowhere_else() -> None:
    assert order("forth.machine", "third")[-3:] == ["forth.policy", "forth", "forth.machine"]
    assert order("third") == order()
