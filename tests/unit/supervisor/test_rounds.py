"""The rounds: every loop and the authority are looked at in each, spread over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.supervisor.rounds import ATTEST_ROUND_S, Rounds

LOOPS = ("primary", "secondary", "third", "forth", "external")


@dataclass
class Stage:
    """A reactor without a clock, five loops and an office that only remember who was looked at."""

    looked_at: list[str] = field(default_factory=list)
    timers: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    trusted: set[str] = field(default_factory=lambda: {*LOOPS, "authority"})
    fleet: Any = None

    def begin(self) -> None:
        members = [SimpleNamespace(name=name, is_trusted=name in self.trusted) for name in LOOPS]
        monitor = SimpleNamespace(policy=SimpleNamespace(round_s=1000.0))
        self.fleet = SimpleNamespace(
            members=members, stopping=False, monitor=monitor, attest=lambda member: self.looked_at.append(member.name)
        )
        office: Any = SimpleNamespace(
            is_attested="authority" in self.trusted, attest=lambda: self.looked_at.append("authority")
        )
        reactor = SimpleNamespace(call_later=lambda delay, callback: self.timers.append((delay, callback)))
        common: Any = SimpleNamespace(reactor=reactor)
        Rounds(common, self.fleet, office).begin()

    def pass_timers(self, count: int) -> float:
        """Let that many looks be due; return how long they take."""
        elapsed = 0.0
        self.timers = [timer for timer in self.timers if timer[0] < 1000.0]  # the judge of heartbeats is another matter
        for _ in range(count):
            delay, callback = self.timers.pop()
            elapsed += delay
            callback()
        return elapsed


def test_every_loop_and_the_authority_are_looked_at_in_every_round() -> None:
    stage = Stage()
    stage.begin()
    for number in (1, 2, 3):
        assert stage.pass_timers(len(LOOPS) + 1) == pytest.approx(ATTEST_ROUND_S)
        assert stage.looked_at == [*LOOPS, "authority"] * number


@pytest.mark.parametrize("name", [*LOOPS, "authority"])
def test_who_is_not_yet_attested_is_left_out(name: str) -> None:
    stage = Stage()
    stage.trusted.discard(name)
    stage.begin()
    stage.pass_timers(len(LOOPS) + 1)
    assert stage.looked_at == [one for one in (*LOOPS, "authority") if one != name]


def test_a_stop_ends_them() -> None:
    stage = Stage()
    stage.begin()
    stage.fleet.stopping = True
    stage.pass_timers(1)
    assert not stage.looked_at and not stage.timers
