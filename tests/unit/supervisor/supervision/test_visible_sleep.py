"""Who need not beat, and who must: what the supervisor sees of a process, and what follows."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from tlsrt.channels.control.seqpacket import control_pair
from tlsrt.supervisor.supervision.visible_sleep import LOOKS, Step, VisibleSleep, is_read

SET = 4


@dataclass
class Seen:
    """One process, and what is seen of it at each look."""

    sleep: VisibleSleep = field(default_factory=VisibleSleep)
    sequence: int = 0
    set: int | None = SET
    has_slept: bool = True
    is_read: bool = True

    def look(self, beats: int = 0) -> Step:
        self.sequence += beats
        return self.sleep.look(
            self.sequence, has_slept=self.has_slept, epoll_set=lambda: self.set, is_read=lambda: self.is_read
        )

    def learn(self) -> None:
        steps = [self.look(1) for _ in range(LOOKS)]
        assert steps == [Step.NOTHING] * (LOOKS - 1) + [Step.MAY_REST]


def test_one_that_is_seen_in_the_same_set_while_it_beats_may_rest_and_sleep_is_a_beat() -> None:
    seen = Seen()
    seen.learn()
    assert [seen.look() for _ in range(20)] == [Step.SLEEPS] * 20


@pytest.mark.parametrize("sets", [[None] * 12, [4, 5] * 6, [4, 4, 4, None] * 3])
def test_where_no_set_is_seen_again_and_again_it_never_may(sets: list[int | None]) -> None:
    seen = Seen()
    for seen.set in sets:
        assert seen.look(1) is Step.NOTHING


def test_one_that_does_not_beat_is_not_learned_from() -> None:
    seen = Seen()
    assert [seen.look() for _ in range(3 * LOOKS)] == [Step.NOTHING] * 3 * LOOKS


@pytest.mark.parametrize("change", [{"has_slept": False}, {"set": None}, {"set": SET + 1}, {"is_read": False}], ids=str)
def test_whatever_is_missing_it_is_asked_once_and_silence_counts(change: dict[str, object]) -> None:
    seen = Seen()
    seen.learn()
    assert seen.look() is Step.SLEEPS
    for name, value in change.items():
        setattr(seen, name, value)
    assert [seen.look() for _ in range(6)] == [Step.ASK] + [Step.NOTHING] * 5, "nothing of it counts as a beat"
    assert seen.look(1) is Step.NOTHING  # its answer
    assert seen.look() is Step.ASK


def test_one_that_beats_by_itself_is_asked_for_nothing() -> None:
    seen = Seen(has_slept=False)
    seen.learn()
    assert [seen.look(1) for _ in range(10)] == [Step.NOTHING] * 10


def test_what_lies_unread_in_a_channel_is_seen_until_it_is_read() -> None:
    ours, theirs = control_pair()
    assert is_read([ours, theirs])
    os.write(ours, b"x")
    assert not is_read([ours]) and is_read([theirs])
    os.read(theirs, 1)
    assert is_read([ours])
    os.close(ours)
    os.close(theirs)
