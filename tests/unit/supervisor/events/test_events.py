"""Events: the registry, one event as a line, the ring, its cursors, and what becomes an event. All pure."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.client.event_line import event_line
from tlsrt.channels.control.life import LoopState
from tlsrt.config.components import LoopConfig
from tlsrt.supervisor.cli.events import kinds_lines
from tlsrt.supervisor.events.bus import RING_EVENTS, EventBus, EventCursor
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.event import LINE_MAX, wall_text
from tlsrt.supervisor.events.event_kinds import EventKind
from tlsrt.supervisor.events.sources import OF_AUTHORITY, SLOW_US, EventSources
from tlsrt.supervisor.process.exit_reason import Cause, Death, KillReason
from tlsrt.supervisor.supervision.heartbeat import Health, HeartbeatMonitor
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.states import LoopEvent

HOSTILE = "evil\x1b[2J\x1b]0;owned\x07\n\r\x9b31m\u202etxt.exe\x00"
WALL = 1_795_000_000_123


def make_bus(capacity: int = RING_EVENTS) -> EventBus:
    bus = EventBus(capacity, wall=lambda: WALL, boottime=lambda: 5000)
    bus.boot = "ab" * 16
    return bus


def names(bus: EventBus) -> list[str]:
    return [event.name.name for event in bus.after(0)]


# The registry and one event


def test_every_event_says_something() -> None:
    for name, entry in EVENTS.items():
        assert entry.name == name
        assert re.fullmatch(r"[a-z_]+", name)
        assert entry.sentence and entry.sentence[0].islower() and not entry.sentence.endswith(".")
    assert len(kinds_lines()) == len(EVENTS)
    assert set(EVENTS) > OF_AUTHORITY


def test_an_event_is_one_line_of_json() -> None:
    event = make_bus().emit("died", "secondary", "killed by SIGKILL", pid=7, served_s=1.5, clean=False, what=None)
    assert event.line.count(b"\n") == 1
    assert json.loads(event.line) == {
        "seq": 1, "at": "2026-11-18T11:06:40.123Z", "boottime_ms": 5000, "boot": "ab" * 16, "kind": "lifecycle",
        "severity": "warning", "name": "died", "subject": "secondary",
        "sentence": "process exited unexpectedly: killed by SIGKILL",
        "fields": {"pid": 7, "served_s": 1.5, "clean": False, "what": None},
    }  # fmt: skip


@pytest.mark.parametrize("wall_ms", [0, 999, 1000, WALL])
def test_a_wall_time_has_its_milliseconds(wall_ms: int) -> None:
    assert wall_text(wall_ms).endswith(f".{wall_ms % 1000:03d}Z")


def test_words_from_outside_steer_no_terminal() -> None:
    event = make_bus().emit("violation", HOSTILE, HOSTILE, what=HOSTILE, thing=HOSTILE.encode())
    for text in (event.line.decode().rstrip("\n"), event_line(json.loads(event.line), colour=False)):
        assert text.isprintable()
    for value in (event.subject, event.words, *event.fields.values()):
        assert isinstance(value, str) and value.isprintable()


@given(st.text(max_size=3000), st.text(max_size=3000), st.dictionaries(st.text(max_size=400), st.text(max_size=900)))
def test_whatever_is_said_is_one_bounded_line(subject: str, words: str, fields: dict[str, Any]) -> None:
    event = make_bus().emit("reported", subject, words, **fields)
    assert len(event.line) <= LINE_MAX
    assert event.line.decode().rstrip("\n").isprintable()
    assert json.loads(event.line)["seq"] == 1


def test_a_name_that_is_not_in_the_table_is_a_bug() -> None:
    bus = make_bus()
    with pytest.raises(KeyError):
        bus.emit("exploded", "secondary")
    assert bus.last == 0


def test_an_event_for_people() -> None:
    event = json.loads(make_bus().emit("given_up", "third", "heartbeat").line)
    plain, coloured = event_line(event, colour=False), event_line(event, colour=True)
    assert re.fullmatch(r"\S+Z +1 lifecycle given_up +third +given up: no further restart: heartbeat", plain)
    assert "\x1b[31mgiven_up" in coloured
    assert "3 events are missing" in event_line({"dropped": 3}, colour=True)


# Ring and cursors


@given(st.integers(1, 20), st.lists(st.integers(-5, 40), max_size=40))
def test_a_cursor_reads_every_event_once_or_counts_it(capacity: int, steps: list[int]) -> None:
    bus = make_bus(capacity)
    cursor = EventCursor(bus, 0)
    seen = 0
    for step in (*steps, -1000):
        for _ in range(max(0, step)):
            bus.emit("epoch", "authority")
        if step < 0:
            seen += cursor.lost()
            for event in cursor.take(-step):
                seen += 1
                assert event.seq == seen
    assert seen == bus.last
    assert cursor.is_at_end


def test_a_cursor_keeps_to_its_kinds() -> None:
    bus = make_bus()
    for name in ("died", "epoch", "suspect", "session_opened"):
        bus.emit(name, "x")
    cursor = EventCursor(bus, 0, frozenset({EventKind.HEALTH, EventKind.SESSION}))
    assert [event.name.name for event in cursor.take(100)] == ["suspect", "session_opened"]
    assert cursor.is_at_end
    assert EventCursor(bus, 10**9).is_at_end


def test_listeners_have_heard_when_emit_returns() -> None:
    """An audit log may stand there, and write what happens before it has an effect."""
    bus = make_bus()
    heard: list[str] = []
    bus.listeners.append(lambda event: heard.append(f"log {event.seq}"))
    bus.listeners.append(lambda event: heard.append(f"feed {event.seq}"))
    bus.emit("died", "third")
    heard.append("effect")
    assert heard == ["log 1", "feed 1", "effect"]


def test_twenty_thousand_events_cost_the_ring() -> None:
    bus = make_bus()
    for _ in range(20_000):
        bus.emit("violation", "third", "socket(2, 1, 0)", pid=5)
    assert (bus.first, bus.last, len(bus._ring)) == (20_000 - RING_EVENTS + 1, 20_000, RING_EVENTS)


# Sources


CLEAN = Death(Cause.STOPPED, "exit code 0", code=0)
SEGFAULT = Death(Cause.SIGNAL, "signal SIGSEGV", signal="SIGSEGV")
HANGED = Death(Cause.HEARTBEAT, "heartbeat", signal="SIGKILL")


def a_life(*events: LoopEvent, verdict: KillReason | None = None, death: Death = CLEAN) -> list[str]:
    bus = make_bus()
    loop = Loop(LoopConfig("third"), 0, -1, "", on_moved=EventSources(bus, lambda: 12.0).moved)
    for event in events:
        loop.process.kill_reason = verdict
        loop.last_death = death
        loop.move(event)
    return [f"{event.name.name} {event.words}".strip() for event in bus.after(0)]


BIRTH = (LoopEvent.SPAWN, LoopEvent.CONFINED, LoopEvent.SEALED, LoopEvent.ATTESTED, LoopEvent.READY, LoopEvent.ACTIVE)


def test_the_steps_of_a_life() -> None:
    born = ["attested", "active"]
    assert a_life(*BIRTH, LoopEvent.DRAIN, LoopEvent.STOP, LoopEvent.EXITED) == [*born, "draining", "ending", "ended"]
    assert a_life(*BIRTH, LoopEvent.EXITED, LoopEvent.RETRY, LoopEvent.BACKOFF_OVER, death=SEGFAULT) == [
        *born, "died signal SIGSEGV",
    ]  # fmt: skip
    hung = KillReason(Cause.HEARTBEAT, "heartbeat")
    assert a_life(*BIRTH, LoopEvent.HUNG, LoopEvent.EXITED, LoopEvent.GIVE_UP, verdict=hung, death=HANGED) == [
        *born, "hung", "killed heartbeat", "died heartbeat", "given_up heartbeat",
    ]  # fmt: skip
    assert a_life(*BIRTH, LoopEvent.STOP, LoopEvent.EXITED, death=SEGFAULT)[-1] == "died signal SIGSEGV"
    assert a_life(LoopEvent.SPAWN, LoopEvent.EXITED, LoopEvent.GIVE_UP, LoopEvent.STOP)[-1] == "given_up exit code 0"


def test_a_kill_is_told_before_it_happens() -> None:
    bus = make_bus()
    moved = EventSources(bus, lambda: 0.0).moved
    loop = Loop(LoopConfig("third"), 0, -1, "", state=LoopState.ACTIVE, on_moved=moved)
    bus.listeners.append(lambda event: seen.append((event.name.name, loop.is_living)))
    seen: list[tuple[str, bool]] = []
    loop.move(LoopEvent.VIOLATED)
    assert seen == [("killed", True)]


def test_slow_and_in_time_again_are_told_once_each() -> None:
    bus = make_bus()
    sources = EventSources(bus, lambda: 0.0)
    for lateness in (0, SLOW_US - 1, SLOW_US, SLOW_US * 5, SLOW_US // 2, 0, 0, SLOW_US):
        sources.beat("third", lateness)
    assert names(bus) == ["slow", "in_time", "slow"]


def test_the_words_of_the_authority() -> None:
    bus = make_bus()
    sources = EventSources(bus, lambda: 0.0)
    sources.reported("offence", "third: not_a_message")
    sources.reported("state", "cannot write the state: no space")
    sources.reported("offence", "nobody")
    assert [(event.name.name, event.subject, event.words) for event in bus.after(0)] == [
        ("offence", "third", "not_a_message"),
        ("reported", "authority", "state: cannot write the state: no space"),
        ("reported", "authority", "offence: nobody"),
    ]


@pytest.mark.parametrize(
    "note",
    [None, [], "x", ["died", "x", "", {}], ["session_opened", 1, "", {}], ["session_opened", "x", "", {}, 1], [[]]],
)
def test_a_note_that_nobody_understands_is_told_as_one(note: object) -> None:
    bus = make_bus()
    EventSources(bus, lambda: 0.0).noted([note, ["session_opened", "client/admin", "", {"session": "ab", 3: 4}]])
    assert names(bus) == ["reported", "session_opened"]
    assert next(iter(bus.after(1))).fields == {"session": "ab", "3": 4}


def test_suspects_are_told_when_that_changes() -> None:
    bus = make_bus()
    monitor = HeartbeatMonitor(None, EventSources(bus, lambda: 0.0).suspected)
    monitor.watch("third", 0.0)
    monitor.settle("third", 0.0)
    for tenth in range(1, 40):
        now = tenth / 10
        if tenth % 5 == 0 and not 10 < tenth < 26:
            monitor.beat("third", now)
        if 10 < tenth < 26:
            found = monitor.health("third", now)
            if found is Health.SUSPECT:
                monitor.check(now)
                monitor.check(now)
                monitor.beat("third", now)
        monitor.check(now)
    assert names(bus)[:2] == ["suspect", "recovered"]
    assert names(bus) == ["suspect", "recovered"] * (len(names(bus)) // 2)
    monitor.forget("third")
    monitor.check(4.1)
    assert len(names(bus)) % 2 == 0
