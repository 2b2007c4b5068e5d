"""The rounds: every loop and the authority are looked at in each, spread over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.sandbox.cgroup.limit_usage import LimitUsage
from tlsrt.supervisor.process.spawn import SpawnedChild
from tlsrt.supervisor.process.unkillable import PATIENCE_S
from tlsrt.supervisor.supervision.clock_steps import Clocks, read_clocks
from tlsrt.supervisor.supervision.heartbeat import HeartbeatPolicy
from tlsrt.supervisor.supervision.loop import Incarnation
from tlsrt.supervisor.supervision.watchdog import ATTEST_ROUND_S, BURST, TURNS, Watchdog

LOOPS = ("primary", "secondary", "third", "forth", "external")


@dataclass
class Stage:
    """An event loop without a clock, five loops and an authority that only remember who was looked at."""

    looked_at: list[str] = field(default_factory=list)
    timers: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    trusted: set[str] = field(default_factory=lambda: {*LOOPS, "authority"})
    names: tuple[str, ...] = LOOPS
    dead: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    late: dict[str, str] = field(default_factory=dict[str, str])  # where the kernel holds who is silent
    excused_s: float = 0.0
    may_wait: bool = True
    judged: int = 0
    told: list[int] = field(default_factory=list[int])  # how often it had judged, whenever features heard of it
    quiet_s: float = 0.0  # for how long nobody can become suspect
    expected: list[float] = field(default_factory=list[float])
    clock: float = 40 - ATTEST_ROUND_S / TURNS + 0.001  # so the first turn is at a moment of beats
    clocks: Clocks = field(default_factory=read_clocks)
    asked: int = 0  # how often all were asked for a beat
    event_loop: Any = None
    loops: Any = None

    def begin(self) -> None:
        loops = [
            SimpleNamespace(name=name, is_trusted=name in self.trusted, process=Incarnation()) for name in self.names
        ]
        monitor = SimpleNamespace(
            check=self._judge, silence=lambda name, now: 1.625, late=lambda now: list(self.late),
            excuse=lambda name, now: self.may_wait, excused=lambda name: self.excused_s,
            quiet_until=lambda now: now + self.quiet_s, expect=self.expected.append,
        )  # fmt: skip
        for loop in loops:
            loop.process.child = SpawnedChild(2, -1, 1 << 30)
        self.loops = SimpleNamespace(
            all=loops, is_stopping=False, monitor=monitor, ask_beats=self._ask_beats,
            attest=lambda loop: self.looked_at.append(loop.name),
            violations=SimpleNamespace(limit_reached=lambda *words: self.said.append(" ".join(map(str, words)))),
            by_name=lambda name: next(loop for loop in loops if loop.name == name),
            hung=lambda loop, reason, cause: self.ended.append(f"{loop.name} {reason} ({cause})"),
            disk_waits=SimpleNamespace(
                seen=lambda name, for_s, where: self.said.append(f"{name} waits {for_s} {where}"), look=lambda: None
            ),
        )  # fmt: skip
        authority: Any = SimpleNamespace(
            is_attested="authority" in self.trusted, attest=lambda: self.looked_at.append("authority"),
            is_killed=False, process=Incarnation(),
            kill=lambda reason, cause: self.ended.append(f"authority {reason} ({cause})"),
        )  # fmt: skip
        self.event_loop = SimpleNamespace(
            now=7.0, call_next=lambda period, callback: self.timers.append((period, callback))
        )
        context: Any = SimpleNamespace(
            event_loop=self.event_loop,
            current=SimpleNamespace(
                children=SimpleNamespace(
                    disk_wait=lambda name, pid: self.late[name], limit_usage=lambda name, pid: LimitUsage()
                )
            ),
            console=SimpleNamespace(bad=lambda *words: self.said.append(" ".join(words))),
            events=SimpleNamespace(emit=lambda *words: None),
        )  # fmt: skip
        helper: Any = SimpleNamespace(is_attested=False, is_killed=False, child=None)
        features: Any = SimpleNamespace(judged=lambda: self.told.append(self.judged))
        Watchdog(context, self.loops, authority, (helper,), features, lambda: self.clock, lambda: self.clocks).begin()

    def _ask_beats(self) -> None:
        self.asked += 1

    def _judge(self, now: float) -> list[str]:
        self.judged += 1
        dead, self.dead = self.dead, []
        return dead

    def pass_turns(self, count: int) -> float:
        """Let that many turns be due; return how long they take."""
        elapsed = 0.0
        for _ in range(count):
            delay, callback = self.timers.pop()
            elapsed += delay
            self.clock += delay
            callback()
        return elapsed


def test_features_hear_of_each_turn_after_its_judgement() -> None:
    stage = Stage()
    stage.begin()
    stage.pass_turns(3)
    assert stage.told == [1, 2, 3]


def test_all_are_asked_for_a_beat_when_the_host_was_suspended_or_its_clock_was_set() -> None:
    stage = Stage()
    stage.begin()
    stage.pass_turns(4)
    assert stage.asked == 0
    for number, name in enumerate(("boottime", "wall"), 1):
        stage.clocks = stage.clocks._replace(**{name: getattr(stage.clocks, name) + 60.0})
        stage.pass_turns(4)
        assert stage.asked == number


def test_every_loop_and_the_authority_are_looked_at_in_every_round() -> None:
    stage = Stage()
    stage.begin()
    for number in (1, 2, 3):
        assert stage.pass_turns(TURNS) == pytest.approx(ATTEST_ROUND_S)
        assert stage.looked_at == [*LOOPS, "authority"] * number


@pytest.mark.parametrize("count", [5, BURST - 1, BURST, 3 * BURST, 100])
def test_each_is_looked_at_in_the_same_turn_of_every_round_and_no_more_in_a_row_than_must_be(count: int) -> None:
    names = tuple(f"loop{number}" for number in range(count))
    stage = Stage(names=names, trusted={*names, "authority"})
    stage.begin()
    rounds: list[list[list[str]]] = []
    for _ in range(3):
        rounds.append([])
        for _ in range(TURNS):
            before = len(stage.looked_at)
            stage.pass_turns(1)
            rounds[-1].append(stage.looked_at[before:])
    assert rounds[0] == rounds[1] == rounds[2]
    assert [name for turn in rounds[0] for name in turn] == [*names, "authority"]
    assert max(map(len, rounds[0])) <= max(BURST, -(-(count + 1) // TURNS))


@pytest.mark.parametrize("off", [1, 2])
def test_a_round_that_began_off_the_beat_is_done_at_once_at_the_next_and_nobody_waits_longer(off: int) -> None:
    names = tuple(f"loop{number}" for number in range(3 * BURST - 1))
    stage = Stage(names=names, trusted={*names, "authority"})
    stage.clock += off * ATTEST_ROUND_S / TURNS  # as after a moment in which the supervisor did not run
    stage.begin()
    turns: list[list[str]] = []
    for _ in range(4 * TURNS):
        before = len(stage.looked_at)
        stage.pass_turns(1)
        turns.append(stage.looked_at[before:])
    for start in range(len(turns) - TURNS):
        assert set().union(*turns[start : start + TURNS]) == {*names, "authority"}
    assert turns[TURNS - off][-BURST:] == [*names[:BURST]]


def test_one_that_goes_in_a_round_costs_no_other_its_look() -> None:
    names = tuple(f"loop{number}" for number in range(2 * BURST))
    stage = Stage(names=names, trusted={*names, "authority"})
    stage.begin()
    stage.pass_turns(1)
    del stage.loops.all[0]
    stage.pass_turns(TURNS - 1)
    assert stage.looked_at == [*names, "authority"]


@pytest.mark.parametrize("count", [1, 4, 7, 25])
def test_so_it_is_with_any_number_of_loops_and_no_two_looks_are_more_than_a_round_apart(count: int) -> None:
    loops = tuple(f"loop{number}" for number in range(count))
    stage = Stage(names=loops, trusted={*loops, "authority"})
    stage.begin()
    turns: list[set[str]] = []
    for _ in range(10 * TURNS):
        before = len(stage.looked_at)
        stage.pass_turns(1)
        turns.append(set(stage.looked_at[before:]))
    for start in range(len(turns) - TURNS):
        assert set().union(*turns[start : start + TURNS]) == {*loops, "authority"}


def test_silence_is_judged_in_every_turn_as_often_as_the_monitor_expects() -> None:
    stage = Stage(dead=["third", "authority"])
    stage.begin()
    assert stage.pass_turns(2) / 2 == pytest.approx(HeartbeatPolicy().round_s)
    assert stage.judged == 2
    assert stage.ended == [f"{name} heartbeat: no beat for 1.62 s (heartbeat)" for name in ("third", "authority")]


def test_where_nobody_can_become_suspect_there_is_one_turn_a_round_with_all_looks() -> None:
    stage = Stage(quiet_s=0.4)
    stage.begin()
    for number in range(1, 4):
        stage.looked_at.clear()
        stage.pass_turns(1)
        assert set(stage.looked_at) == {*LOOPS, "authority"} and stage.judged == number
        assert stage.timers[-1][0] == ATTEST_ROUND_S
        assert stage.expected[-1] == pytest.approx(ATTEST_ROUND_S, abs=0.01)
    stage.quiet_s = 0.3  # less than until the last turn that is left out
    stage.pass_turns(1)
    assert stage.timers[-1][0] == stage.expected[-1] == ATTEST_ROUND_S / TURNS


def test_turns_are_not_left_out_while_looks_are_left_or_one_that_was_killed_is_there() -> None:
    names = tuple(f"loop{number}" for number in range(BURST + 1))
    stage = Stage(names=names, trusted={*names, "authority"}, quiet_s=9.0)
    stage.begin()
    stage.pass_turns(1)
    assert len(stage.looked_at) == BURST and stage.timers[-1][0] == ATTEST_ROUND_S / TURNS
    stage.pass_turns(1)
    assert set(stage.looked_at) == {*names, "authority"} and stage.timers[-1][0] == ATTEST_ROUND_S
    stage = Stage(quiet_s=9.0)
    stage.begin()
    stage.loops.all[0].process.is_killed = True
    stage.pass_turns(1)
    assert stage.timers[-1][0] == ATTEST_ROUND_S / TURNS


def test_who_waits_for_its_disk_is_excused_told_and_at_last_killed_for_that() -> None:
    stage = Stage(late={"third": "D in folio_wait_bit", "forth": ""}, excused_s=0.625)
    stage.begin()
    stage.pass_turns(1)
    assert stage.said == ["third waits 0.625 D in folio_wait_bit"] and not stage.ended
    stage.may_wait, stage.excused_s, stage.dead = False, 60.0, ["third"]
    stage.pass_turns(1)
    sentence = "third heartbeat: no beat for 1.62 s, of which it waited 60.00 s for its disk (disk)"
    assert stage.ended == [sentence] and len(stage.said) == 1


@pytest.mark.parametrize("name", ["third", "authority"])
def test_a_hang_after_a_wait_for_the_disk_is_no_death_by_the_disk(name: str) -> None:
    stage = Stage(late={name: "", "forth": "D in folio_wait_bit"}, excused_s=0.25, dead=[name])
    stage.begin()
    stage.pass_turns(1)
    assert stage.ended == [f"{name} heartbeat: no beat for 1.62 s, of which it waited 0.25 s for its disk (heartbeat)"]


@pytest.mark.parametrize("name", [*LOOPS, "authority"])
def test_who_is_not_yet_attested_is_left_out(name: str) -> None:
    stage = Stage()
    stage.trusted.discard(name)
    stage.begin()
    stage.pass_turns(TURNS)
    assert stage.looked_at == [one for one in (*LOOPS, "authority") if one != name]


def test_after_a_stop_nobody_is_judged_or_looked_at_and_who_does_not_end_is_told() -> None:
    stage = Stage()
    stage.begin()
    stage.loops.is_stopping = True
    drains, stuck = stage.loops.all[1:3]
    drains.process.child = stuck.process.child = SpawnedChild(2, -1, 1 << 30)
    stuck.process.is_killed = True
    stage.pass_turns(1)
    stage.event_loop.now += PATIENCE_S - 0.1
    stage.pass_turns(1)
    assert not stage.looked_at and not stage.judged and not stage.said
    stage.event_loop.now += 0.2
    stage.pass_turns(2)
    assert stage.said == [
        "third stuck killed, but it waits in the kernel (?), where no signal reaches it; the end waits for it"
    ]
