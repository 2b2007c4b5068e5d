"""The steps in force behave as a plain list of them would, whatever is put, ended and released; and they are quick."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.authority.detection.active_actions import ActiveActions, Key
from tlsrt.supervisor.authority.detection.escalation import LASTING, Action, AppliedAction
from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind

MOST = 5
WHO = [SignalSource(SourceKind.ADDRESS, str(number)) for number in range(8)]
STEP, WHOM = st.sampled_from(sorted(LASTING)), st.sampled_from(WHO)
PUT = st.tuples(st.just("put"), STEP, WHOM, st.integers(0, 40))
OTHER = st.tuples(st.sampled_from(["due", "release"]), STEP, WHOM, st.just(0))


class Plain:
    """What a judge had before: a dictionary that is gone through each time."""

    def __init__(self) -> None:
        self.actions: dict[Key, AppliedAction] = {}

    def put(self, key: Key, applied: AppliedAction) -> None:
        if len(self.actions) >= MOST:
            del self.actions[min(self.actions, key=lambda each: self.actions[each].until)]
        self.actions[key] = applied

    def next_due(self) -> int | None:
        return min((applied.until for applied in self.actions.values()), default=None)

    def take(self, wanted: Any) -> list[AppliedAction]:
        keys = [key for key, applied in self.actions.items() if wanted(applied)]
        return [self.actions.pop(key) for key in keys]


@given(st.lists(st.tuples(st.one_of(PUT, PUT, OTHER), st.integers(0, 8)), max_size=80))
def test_it_behaves_as_a_dictionary_that_is_gone_through(
    acts: list[tuple[tuple[str, Action, SignalSource, int], int]],
) -> None:
    quick, plain, now = ActiveActions(MOST), Plain(), 0
    for (act, action, who, lasts), pause in acts:
        now += pause
        key, applied = (action, who), AppliedAction(action, who, "x", "", 1.0, now + lasts)
        if act == "put" and key not in plain.actions:
            quick.put(key, applied)
            plain.put(key, applied)
        elif act == "due":
            ended = plain.take(lambda one, now=now: one.until <= now)
            assert quick.due(now) == sorted(ended, key=lambda one: one.until)
        elif act == "release":
            assert quick.release(who.value) == plain.take(lambda one, who=who: one.source == who)
        assert list(quick) == list(plain.actions.values()) and len(quick) <= MOST
        assert quick.next_due() == plain.next_due() and all(each in quick for each in plain.actions)


def test_a_step_that_is_put_again_ends_at_its_new_time_and_takes_no_room() -> None:
    quick, key = ActiveActions(2), (Action.BLOCK, WHO[0])
    for until in (5, 9):
        quick.put(key, AppliedAction(Action.BLOCK, WHO[0], "x", "", 1.0, until))
    assert (len(quick), quick.next_due(), quick.due(5)) == (1, 9, [])


def test_what_is_kept_beside_the_steps_is_bounded_too() -> None:
    quick = ActiveActions(64)
    for number in range(10_000):
        who = SignalSource(SourceKind.ADDRESS, str(number))
        quick.put((Action.BLOCK, who), AppliedAction(Action.BLOCK, who, "x", "", 1.0, number % 97))
        if number % 3 == 0:
            quick.release(str(number))
    assert len(quick) <= 64 and len(quick._ends._heap) <= 130
