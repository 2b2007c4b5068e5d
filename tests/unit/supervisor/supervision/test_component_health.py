"""What a loop says of its components: what is taken, what follows, and how much of it reaches the console."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.health import HealthOutcome, Readiness
from tlsrt.config.components import ComponentConfig, HealthConfig, LoopConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.console import TerminalConsole
from tlsrt.supervisor.supervision.component_health import LINES, ComponentHealth, read_untrusted, state_untrusted
from tlsrt.supervisor.supervision.loop import ComponentState, Loop

NOTES = ComponentConfig("third", "notes", "notes:Notes", health=HealthConfig(fails=2))
SHOWN = replace(NOTES, name="shown", health=HealthConfig(fails=2, then="none"))
GOOD, FAILED, TIMED_OUT = (int(outcome) for outcome in HealthOutcome)


class Stage:
    def __init__(self) -> None:
        self.ended: list[str] = []
        self.stream = io.StringIO()
        self.event_loop = SimpleNamespace(now=100.0)
        config = SimpleNamespace(components_of=lambda loop: (NOTES, SHOWN))
        self.events: list[tuple[object, ...]] = []
        events = SimpleNamespace(emit=lambda *words, **fields: self.events.append((*words, fields)))
        context: Any = SimpleNamespace(
            current=SimpleNamespace(config=config),
            event_loop=self.event_loop,
            console=TerminalConsole(self.stream),
            events=events,
        )
        self.health = ComponentHealth(context, lambda loop, sentence: self.ended.append(sentence))
        self.loop = Loop(LoopConfig("third"), 0, -1, "third.log")

    def hear(self, *records: tuple[int, int, int]) -> list[str]:
        """Take records; return the lines of the console, with single blanks."""
        for record in records:
            self.health.heard_untrusted(self.loop, record)
        return [" ".join(line.split()) for line in self.stream.getvalue().splitlines()]


def test_enough_failures_in_a_row_end_the_loop_with_the_component_as_the_reason() -> None:
    stage = Stage()
    stage.hear((0, FAILED, 1))
    assert not stage.ended
    stage.hear((0, FAILED, 2))
    assert stage.ended == ["health: 2 checks in a row of third/notes failed, see third.log"]


def test_so_does_silence() -> None:
    stage = Stage()
    stage.hear((0, TIMED_OUT, 2))
    assert stage.ended == ["health: 2 checks in a row of third/notes were not answered in time, see third.log"]


def test_one_that_is_only_shown_is_told_once_and_once_when_it_is_well_again() -> None:
    stage = Stage()
    lines = stage.hear((1, FAILED, 1), (1, FAILED, 2), (1, FAILED, 3), (1, GOOD, 0), (1, GOOD, 0))
    assert lines == ["third unwell 2 checks in a row of third/shown failed, see third.log", "third well third/shown"]
    assert not stage.ended
    assert stage.events == [
        ("component_health", "third/shown", "2 checks in a row of third/shown failed, see third.log",
         {"health": "unwell"}),
        ("component_health", "third/shown", "third/shown", {"health": "well"}),
    ]  # fmt: skip
    assert stage.loop.process.checked[1].outcome is HealthOutcome.GOOD and stage.loop.process.checked[1].at == 100.0


def test_a_loop_that_changes_its_mind_for_ever_does_not_fill_the_console() -> None:
    stage = Stage()
    lines = stage.hear(*[(1, FAILED, 2), (1, GOOD, 0)] * 1000)
    assert len(lines) == LINES
    stage.event_loop.now += 5.0
    assert len(stage.hear((1, FAILED, 2))) == LINES + 1


@pytest.mark.parametrize("record", [(2, GOOD, 0), (0, 0, 0), (0, 9, 1), (0, GOOD, 1), (0, FAILED, 0), (1 << 63, 1, 0)])
def test_what_makes_no_sense_breaks_the_protocol(record: tuple[int, int, int]) -> None:
    stage = Stage()
    with pytest.raises(PeerError, match="bad_health"):
        stage.hear(record)
    assert not stage.loop.process.checked


@given(st.tuples(*[st.integers(0, (1 << 64) - 1)] * 3))
def test_any_three_numbers_are_a_check_or_the_one_error(record: tuple[int, int, int]) -> None:
    try:
        index, checked = read_untrusted((NOTES, SHOWN), record, 1.0)
    except PeerError:
        return
    assert index < 2 and (checked.fails == 0) == (checked.outcome is HealthOutcome.GOOD)


def test_readiness_is_kept_and_told_when_it_changes_and_ends_nothing() -> None:
    stage = Stage()
    for readiness in (Readiness.NOT_READY, Readiness.NOT_READY, Readiness.READY, Readiness.READY):
        stage.health.state_heard_untrusted(stage.loop, (1, int(readiness), 2, 1))
    lines = [" ".join(line.split()) for line in stage.stream.getvalue().splitlines()]
    assert lines == ["third unready third/shown is not ready, see third.log", "third ready third/shown"]
    assert stage.loop.process.components == {1: ComponentState(Readiness.READY, 2, 1)} and not stage.ended


@pytest.mark.parametrize("fields", [(2, 1, 0, 0), (0, 3, 0, 0), (9, 9, 9, 9)])
def test_a_record_about_nothing_is_refused(fields: tuple[int, ...]) -> None:
    with pytest.raises(PeerError, match="bad_component"):
        state_untrusted((NOTES, SHOWN), fields)
