"""`events --timeline`: lanes and events in the width of a terminal, whatever the words are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.cli.timeline import timeline_lines


def event(second: int, subject: str = "third", severity: str = "info", name: str = "ready") -> dict[str, Any]:
    at = f"2026-11-28T11:{second // 60:02}:{second % 60:02}+00:00"
    return {"at": at, "subject": subject, "severity": severity, "name": name, "sentence": f"{name} of {subject}"}


def test_a_lane_for_each_subject_and_the_events_below() -> None:
    events = [event(0), event(50, "forth"), event(60, severity="alarm", name="died"), event(100, "forth", "warning")]
    title, clock, third, forth, _, *below = timeline_lines(events, 27)
    assert title.startswith("4 events in 1 min 40 s")
    assert clock == "       11:00:00    11:01:40"
    assert third == "third  o...........!......."
    assert forth == "forth  ..........o........w"
    assert len(below) == 4
    wide = timeline_lines(events, 120)
    assert wide[0].endswith("o info, w warning, ! alarm")
    assert wide[-2] == "11:01:00        +10.0 s  !  third  died: died of third"


def test_the_worst_of_a_column_is_shown_and_gaps_are_told() -> None:
    lines = timeline_lines([event(0, severity="alarm"), event(0), {"dropped": 3}], 80)
    assert lines[2].startswith("third  !")
    assert lines[-1] == "... 3 events are missing"
    assert timeline_lines([], 80) == ["no events"]


def test_days_are_shown_by_their_dates() -> None:
    lines = timeline_lines([{**event(0), "at": "2026-11-25T08:00:00+00:00"}, event(0)], 80)
    assert lines[1].split() == ["11-25", "08:00", "11-28", "11:00"]


_TEXT = st.text(max_size=90)


@given(st.lists(st.tuples(st.integers(0, 3599), _TEXT, _TEXT, _TEXT), max_size=40), st.integers(40, 200))
def test_no_line_is_too_wide_or_steers_the_terminal(rows: list[tuple[int, str, str, str]], width: int) -> None:
    lines = timeline_lines([event(*row) for row in rows], width)
    assert all(len(line) <= width and line.isprintable() for line in lines)
