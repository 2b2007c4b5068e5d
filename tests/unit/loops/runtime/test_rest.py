"""Rest of a process: when it begins, what ends it, and that no frame is judged by what is too old."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tlsrt.channels.session.verifier import FEED_SILENCE_MS, Verifier
from tlsrt.loops.runtime.rest import AGAIN_MS, HELD_BYTES, HELD_FRAMES, QUIET_BEATS, Rest


@dataclass
class Process:
    """A process, its authority and its heartbeat, which note what they are told; `now` is in ms."""

    now: int = 1_000_000
    quiet: bool = True
    reads: bool = True
    look: float = math.inf
    said: list[str] = field(default_factory=list[str])
    until: list[float] = field(default_factory=list[float])
    taken: list[tuple[bytes, bool]] = field(default_factory=list[tuple[bytes, bool]])  # and if it was synchronised
    soon: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    verifier: Verifier = field(default_factory=Verifier)

    def __post_init__(self) -> None:
        self.verifier.snapshot(1, 0, 1, 0, self.now, [], self.now)
        self.rest_of = Rest(self, self, self, self.verifier, lambda: self.now)

    def is_quiet(self) -> bool:
        return self.quiet

    def next_look(self, now: float) -> float:
        return self.look

    def take(self, data: bytes) -> None:
        self.taken.append((data, self.verifier.is_synchronised(self.now)))

    def rest(self) -> bool:
        self.said += ["rest"] if self.reads else []
        return self.reads

    def wake(self) -> bool:
        self.said += ["wake"] if self.reads else []
        return self.reads

    def rest_until(self, look: Callable[[float], float]) -> None:
        self.until.append(look(self.now / 1000))

    def go_on(self) -> None:
        self.said.append("go on")

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def beat(self, work: object = 0) -> None:
        self.now += 500
        if not self.rest_of._is_resting:
            self.verifier.feed(0, self.now, self.now)
        self.rest_of.each_beat(self.now / 1000, work)

    def come_to_rest(self) -> None:
        self.rest_of.allow()
        for _ in range(QUIET_BEATS + 1):
            self.beat()
        assert self.said == ["rest"] and set(self.until) == {self.look}
        self.said.clear()

    def comes(self, data: bytes) -> None:
        if self.rest_of.is_awake or not self.rest_of.holds_untrusted(data):
            self.take(data)

    def answer(self) -> None:
        self.verifier.awake(0, self.now, self.now)
        self.rest_of.on_trust()
        while self.soon:
            self.soon.pop(0)()


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    made = Process()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


def test_it_rests_only_when_it_may_and_after_some_beats_without_anything(process: Process) -> None:
    for _ in range(3 * QUIET_BEATS):
        process.beat()
    assert not process.said and process.rest_of.is_awake
    process.rest_of.allow()
    for number in range(3 * QUIET_BEATS):
        process.beat(number)  # something happens each time
    assert not process.said
    process.quiet = False
    for _ in range(3 * QUIET_BEATS):
        process.beat()
    assert not process.said
    process.quiet = True
    process.come_to_rest()


def test_one_with_something_to_look_at_soon_goes_on_and_else_rests_until_then(process: Process) -> None:
    process.look = process.now / 1000 + 1.0
    process.rest_of.allow()
    for _ in range(2 * QUIET_BEATS):
        process.look = process.now / 1000 + 1.5
        process.beat()
    assert not process.said
    process.look = process.now / 1000 + 100.0
    process.beat()
    assert process.said == ["rest"] and process.until == [process.look]


def test_a_beat_that_is_asked_for_ends_no_rest_and_has_nothing_sent_anew(process: Process) -> None:
    process.come_to_rest()
    for _ in range(20):
        process.beat()
        assert not process.rest_of.misses_feed
    assert process.said == [] and not process.verifier.is_synchronised(process.now)


def test_the_first_frames_wait_for_the_answer_and_are_judged_in_their_order(process: Process) -> None:
    process.come_to_rest()
    process.now += 60_000
    for data in (b"1", b"2", b"3"):
        process.comes(data)
    assert process.taken == [] and process.said == ["wake", "go on"]
    process.answer()
    assert process.taken == [(b"1", True), (b"2", True), (b"3", True)] and process.rest_of.is_awake
    process.comes(b"4")
    assert process.taken[-1] == (b"4", True)


def test_while_the_last_feed_still_counts_a_frame_is_taken_at_once(process: Process) -> None:
    process.come_to_rest()
    process.now += FEED_SILENCE_MS - 500
    process.comes(b"1")
    assert process.taken == [(b"1", True)] and process.said == ["wake", "go on"]


def test_without_an_answer_what_waits_is_refused_and_all_is_asked_for_anew(process: Process) -> None:
    process.come_to_rest()
    process.now += 60_000
    process.comes(b"1")
    assert not process.rest_of.misses_feed
    process.now += AGAIN_MS
    assert process.rest_of.misses_feed
    for _ in range(FEED_SILENCE_MS // 500):
        process.rest_of.on_trust()  # whatever it says, it is no answer
        assert not process.soon
        process.now += 500
        process.rest_of.each_beat(process.now / 1000, 0)
    assert process.taken == [(b"1", False)], "its verifier refuses it"
    assert process.rest_of.misses_feed and process.rest_of.is_awake


def test_an_authority_that_does_not_read_is_asked_by_a_later_beat(process: Process) -> None:
    process.come_to_rest()
    process.reads = False
    process.now += 60_000
    process.comes(b"1")
    process.now += AGAIN_MS
    assert process.said == ["go on"] and process.rest_of.misses_feed and not process.taken


@pytest.mark.parametrize(("frame", "most"), [(b"x", HELD_FRAMES), (bytes(HELD_BYTES // 4), 4)], ids=["many", "large"])
def test_what_is_held_is_bounded_and_what_is_beyond_is_refused(process: Process, frame: bytes, most: int) -> None:
    process.come_to_rest()
    process.now += 60_000
    for _ in range(most + 3):
        process.comes(frame)
    assert process.taken == [(frame, False)] * 3
    process.answer()
    assert process.taken[3:] == [(frame, True)] * most


def test_work_of_its_own_ends_the_rest(process: Process) -> None:
    process.come_to_rest()
    process.now += 60_000
    process.beat("a call of its own")
    assert process.said == ["wake", "go on"] and not process.rest_of.is_awake
    process.answer()
    assert process.rest_of.is_awake


def test_one_that_is_fed_although_it_rests_says_so_again(process: Process) -> None:
    process.come_to_rest()
    process.now += 60_000
    process.verifier.snapshot(2, 0, 1, 0, process.now, [], process.now)  # of an authority that came again
    process.beat()
    assert process.said == ["rest"]


def test_one_that_ends_is_awake(process: Process) -> None:
    process.come_to_rest()
    process.rest_of.end()
    assert process.said == ["wake", "go on"]
    process.answer()
    for _ in range(3 * QUIET_BEATS):
        process.beat()
    assert process.said == ["wake", "go on"]
