"""Pages of several logs as one: nothing twice, nothing left out, in order; filters, times and cursors that lie."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsrt import InvalidArgument
from tlsrt.loops.secondary.log_query import (
    LIMIT_MOST,
    Entry,
    Filter,
    Found,
    Page,
    Position,
    merge,
    moment_us,
    position_untrusted,
)
from tlsrt.loops.secondary.log_text import shown

NOW = 1_800_000_000_000_000
MS = 1000


def entry(at_us: int, text: str = "", source: str = "logs", **more: object) -> Entry:
    made = Entry(
        at_ms=at_us // MS, source=source, unit=None, component=None, priority=None, text=text, is_cut=False
    )  # fmt: skip
    return {**made, **more}  # type: ignore[typeddict-item]


class Log:
    """A log in memory that looks through `room` entries with one question, as the real ones look through bytes."""

    def __init__(self, name: str, moments: list[int], room: int) -> None:
        self.name = name
        self.found = [
            Found(at * MS, entry(at * MS, f"{name} {number}"), f"c={number}" if name == "journal" else "")
            for number, at in enumerate(sorted(moments))
        ]
        self._room = room

    def older(self, wanted: Filter, before: Position, limit: int) -> Page:
        rows = list(reversed(self.found))
        if self.name == "journal" and before.journal:
            rows = rows[[one.cursor for one in rows].index(before.journal) + 1 :]
        elif before.at_us is not None:
            rows = [one for one in rows if one.at_us <= before.at_us]
        looked = rows[: self._room]
        passed = [one for one in looked if wanted.wants(one.entry, one.at_us, 6)]
        passed = passed[before.skip.get(self.name, 0) if self.name != "journal" else 0 :]  # of what was wanted
        if len(passed) >= limit or len(looked) == len(rows):
            return Page(passed[:limit], None)
        return Page(passed, looked[-1].at_us, looked[-1].cursor)


@example({"audit": [1, 1, 1]}, 1, "1")
@given(
    st.dictionaries(
        st.sampled_from(["journal", "audit", "third", "forth"]), st.lists(st.integers(1, 60), max_size=40), min_size=1
    ),
    st.integers(1, 7),
    st.sampled_from(["", "1", "third"]),
)
def test_all_pages_together_are_every_entry_once_and_in_order(
    moments: dict[str, list[int]], limit: int, text: str
) -> None:
    room = 64 if text == "" else 41  # at least as many as one moment can have
    logs = [Log(name, some, room) for name, some in moments.items()]
    wanted, position, pages = Filter(text=text), Position(), list[list[Entry]]()
    for _ in range(500):
        merged = merge({log.name: log.older(wanted, position, limit) for log in logs}, position, limit)
        assert len(merged.entries) <= limit and merged.held_up_by == ""
        pages.append(merged.entries)
        if merged.position is None:
            break
        position = position_untrusted(merged.position.text())
    else:
        pytest.fail("it comes to no end")
    found = [one for page in reversed(pages) for one in page]
    assert [one["at_ms"] for one in found] == sorted(one["at_ms"] for one in found)
    expected = [one.entry["text"] for log in logs for one in log.found if text in one.entry["text"]]
    assert sorted(one["text"] for one in found) == sorted(expected)


def test_a_log_with_more_of_one_moment_than_is_looked_through_does_not_hold_up_the_others_for_ever() -> None:
    logs = [Log("third", [5] * 100, 10), Log("forth", [1, 9], 100)]
    wanted, position, texts, held = Filter(text="forth"), Position(), list[str](), list[str]()
    for _ in range(20):
        merged = merge({log.name: log.older(wanted, position, 5) for log in logs}, position, 5)
        texts += [one["text"] for one in merged.entries]
        held += [merged.held_up_by] if merged.held_up_by else []
        if merged.position is None:
            break
        position = merged.position
    assert sorted(texts) == ["forth 0", "forth 1"] and held == ["third"]


def test_a_page_is_bounded_in_bytes() -> None:
    rows = [Found(one, entry(one, "x" * 4000)) for one in range(LIMIT_MOST, 0, -1)]
    merged = merge({"third": Page(rows, None)}, Position(), LIMIT_MOST)
    assert 30 < len(merged.entries) < 45 and merged.position is not None
    assert merged.entries[-1]["at_ms"] == LIMIT_MOST // MS and merged.position.skip == {"third": 1}


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (Filter(), True), (Filter(unit="ssh.service"), True), (Filter(unit="ssh"), False),
        (Filter(component="third"), True), (Filter(component="third/io"), True), (Filter(component="thi"), False),
        (Filter(priority=3), True), (Filter(priority=2), False), (Filter(text="KETTLE.*"), True),
        (Filter(text="kettle.+"), False), (Filter(since_us=NOW), True), (Filter(since_us=NOW + 1), False),
        (Filter(until_us=NOW), True), (Filter(until_us=NOW - 1), False),
    ],
)  # fmt: skip
def test_each_filter_passes_what_it_says_and_text_is_no_pattern(wanted: Filter, passes: bool) -> None:
    one = entry(NOW, "the Kettle.* boils", unit="ssh.service", component="third/io", priority=3)
    assert wanted.wants(one, NOW, 6) is passes


def test_what_says_no_priority_counts_as_its_log_says() -> None:
    assert Filter(priority=6).wants(entry(NOW), NOW, 6)
    assert not Filter(priority=5).wants(entry(NOW), NOW, 6)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("15m", NOW - 900_000_000), ("2d", NOW - 172_800_000_000), ("2026-12-01T20:00", 1_796_155_200_000_000),
        ("2026-12-01T20:00:00+01:00", 1_796_151_600_000_000), ("1796155200000", 1_796_155_200_000_000),
    ],
)  # fmt: skip
def test_times_are_what_people_type(text: str, means: int) -> None:
    assert moment_us(text, NOW, "since") == means


@pytest.mark.parametrize("text", ["yesterday", "15", "-5m", "\x1b[2J", "9999-99-99", "1" * 40])
def test_what_is_no_time_is_one_sentence(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is no time: say 15m") as error:
        moment_us(text, NOW, "since")
    assert str(error.value).isprintable()


def test_until_before_since_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="until is before since"):
        Filter(since_us=2, until_us=1)


@given(st.builds(
    Position, st.integers(0, 1 << 59),
    st.dictionaries(st.sampled_from(["audit", "third.notes"]), st.integers(0, 500)), st.sampled_from(["", "s=1;i=a"]),
))  # fmt: skip
def test_a_cursor_comes_back_as_it_was(position: Position) -> None:
    assert position_untrusted(position.text()) == position


@given(st.one_of(
    st.text(max_size=60),
    st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda one: st.lists(one, max_size=4)).map(
        lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
    ),
))  # fmt: skip
def test_any_other_cursor_is_refused_in_one_way(text: str) -> None:
    with suppress(InvalidArgument):
        found = position_untrusted(text)
        assert found == Position() or position_untrusted(found.text()) == found


@pytest.mark.parametrize("cursor", ["s=1\r\nX: y", "S=1", "s=1 2", "x" * 600])
def test_no_cursor_brings_a_line_into_a_request(cursor: str) -> None:
    with pytest.raises(InvalidArgument):
        position_untrusted(Position(1, {}, cursor).text())


@given(st.text(max_size=100), st.integers(1, 80))
def test_any_text_is_one_printable_line_within_its_bound(text: str, most: int) -> None:
    line, is_cut = shown(text, most)
    assert len(line) <= most and line.replace("\t", "").isprintable()
    assert is_cut or len(line) >= len(text)


def test_what_steers_a_terminal_or_turns_the_line_becomes_an_escape() -> None:
    assert shown("a\x1b[2J\r\n\u202eb\ud800")[0] == r"a\x1b[2J\r\n\u202eb\ud800"
