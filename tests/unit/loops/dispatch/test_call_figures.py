"""Figures of calls: each call once, under a name that its component has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.figures import BUCKETS
from tlsrt.loops.dispatch.call_figures import METHODS_MOST, OTHER, CallFigures


@given(st.lists(st.tuples(st.sampled_from(["add", "get", "unknown", 'x"} 1\n']), st.booleans(), st.floats(0, 100))))
def test_each_call_is_counted_once(calls: list[tuple[str, bool, float]]) -> None:
    now = 0.0
    figures = CallFigures({"add", "get"}, lambda: now)
    for method, is_good, took_s in calls:
        began, now = now, now + took_s
        figures.note(method, began, is_good=is_good)
    rows = {method: (good, errors, histogram) for method, good, errors, histogram in figures.rows()}
    assert set(rows) <= {"add", "get", OTHER}
    assert sum(good + errors for good, errors, _ in rows.values()) == len(calls)
    for good, errors, histogram in rows.values():
        assert len(histogram) == BUCKETS + 1 and sum(histogram[:-1]) == good + errors
    assert abs(sum(histogram[-1] for _, _, histogram in rows.values()) - now) < 0.01


def test_names_have_an_end() -> None:
    figures = CallFigures({f"m{number}" for number in range(1000)})
    for number in range(1000):
        figures.note(f"m{number}", 0.0, is_good=True)
    rows = [*figures.rows()]
    assert len(rows) == METHODS_MOST + 1 and rows[-1][0] == OTHER
