"""Log files as one stream: entries, their order, whose they are, rotation, and words that would steer a terminal."""

from __future__ import annotations

import argparse
import os
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.log_entries import LINE_MAX, LINES_MAX, LogReader, merged
from tlsrt.command_line.moments import moment_at, sequence_or_moment
from tlsrt.supervisor.cli.log_subject import Subject, subject_of
from tlsrt.supervisor.cli.logs import CannotRead, Tail, _end_of

NOW = datetime.fromisoformat("2026-11-28T12:00:00").timestamp()
FIRST = b"2026-11-28 07:24:24,713 INFO external: begun\n"
SECOND = b"2026-11-28 07:24:25,001 ERROR external/http: failed\nTraceback (most recent call last):\n  line\n"
THIRD = b"2026-11-28 07:24:26,000 INFO external: done\n"
ALL = Subject(("external",))


def entries(data: bytes, latest: float = NOW) -> list[tuple[str, ...]]:
    reader = LogReader("external")
    return [entry.lines for entry in reader.feed(data, latest) + reader.end()]


def test_lines_without_a_time_belong_to_the_one_before() -> None:
    assert entries(FIRST + SECOND + THIRD) == [
        ("2026-11-28 07:24:24,713 INFO external: begun",),
        ("2026-11-28 07:24:25,001 ERROR external/http: failed", "Traceback (most recent call last):", "  line"),
        ("2026-11-28 07:24:26,000 INFO external: done",),
    ]


@given(st.lists(st.integers(1, 40), max_size=8))
def test_pieces_make_the_same_entries_as_the_whole(cuts: list[int]) -> None:
    data, reader, found, at = FIRST + SECOND + THIRD, LogReader("external"), [], 0
    for cut in cuts:
        found += reader.feed(data[at : at + cut], NOW)
        at += cut
    found += reader.feed(data[at:], NOW) + reader.end()
    assert [entry.lines for entry in found] == entries(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_printable_bounded_lines_in_order(data: bytes) -> None:
    reader = LogReader("x")
    found = reader.feed(data, NOW) + reader.feed(b"\n", NOW) + reader.end()
    lines = [line for entry in found for line in entry.lines]
    assert all(line.replace("\t", "").isprintable() and len(line) <= LINE_MAX for line in lines)
    times = [entry.at for entry in found]
    assert times == sorted(times) and all(at <= NOW for at in times)


def test_what_a_captured_process_writes_steers_no_terminal_and_takes_no_other_name() -> None:
    reader = LogReader("third")
    found = reader.feed(b"2026-11-28 07:00:00,000 INFO authority: \x1b[2J\x07 all is well\n", NOW) + reader.end()
    assert found[0].process == "third" and "\\x1b[2J\\x07" in found[0].lines[0]


def test_a_forged_time_moves_no_line_before_an_earlier_one_and_none_into_the_future() -> None:
    reader = LogReader("third")
    found = reader.feed(
        b"2026-11-28 07:00:00,000 INFO third: a\n2020-01-01 00:00:00,000 INFO third: b\n"
        b"9999-01-01 00:00:00,000 INFO third: c\n",
        NOW,
    )  # fmt: skip
    found += reader.end()
    assert found[0].at == found[1].at < found[2].at == NOW


def test_a_line_or_an_entry_without_end_is_bounded() -> None:
    assert len(entries(b"x" * (LINE_MAX * 9) + b"\n")[0][0]) <= LINE_MAX
    assert len(entries(FIRST + b"more\n" * (LINES_MAX * 2))[0]) == LINES_MAX


def test_logs_are_merged_by_time_and_each_keeps_its_order() -> None:
    one, two = LogReader("one"), LogReader("two")
    logs = [one.feed(FIRST + THIRD, NOW) + one.end(), two.feed(SECOND, NOW) + two.end()]
    assert [entry.process for entry in merged(logs)] == ["one", "two", "one"]


def test_subjects() -> None:
    processes = ("third", "third.notes", "authority")
    components = {"third/notes": "third.notes", "third/io": "third"}
    assert subject_of("", processes, components) == Subject(processes)
    assert subject_of("third", processes, components) == Subject(("third", "third.notes"))
    assert subject_of("third.notes", processes, components) == Subject(("third.notes",))
    assert subject_of("third/notes", processes, components) == Subject(("third.notes",))
    assert subject_of("third/io", processes, components) == Subject(("third",), "third/io")
    assert subject_of("third.notes/sox", processes, components) == Subject(("third.notes",), "", "sox")
    assert subject_of("third/notes/sox", processes, components) == Subject(("third.notes",), "", "sox")
    assert subject_of("forth", processes, components) is None
    assert subject_of("third/nobody", processes, components) is None
    assert subject_of("../x", processes, components) is None


def test_a_subject_wants_lines_of_its_component_and_program() -> None:
    reader = LogReader("third")
    lines = (b"third/io: read", b"third/notes: sox #3: a sound", b"third/notes: program sox: failed", b"third: begun")
    found = [
        *reader.feed(b"".join(b"2026-11-28 07:00:00,000 INFO " + line + b"\n" for line in lines), NOW),
        *reader.end(),
    ]
    assert [Subject((), "third/io").wants(entry) for entry in found] == [True, False, False, False]
    assert [Subject((), "", "sox").wants(entry) for entry in found] == [False, True, True, False]


def test_the_end_of_a_log_and_what_follows_over_rotation(tmp_path: Path) -> None:
    log, earlier = tmp_path / "external.log", tmp_path / "external.log.1"
    earlier.write_bytes(FIRST)
    log.write_bytes(SECOND)
    tail = Tail(tmp_path, "external")
    assert [len(entry.lines) for entry in tail.entries(None, 0.0, ALL)] == [1, 3]
    with log.open("ab") as file:
        file.write(THIRD[:20])
        file.flush()
        assert tail.news() == []
        file.write(THIRD[20:])
        file.flush()
        assert [entry.lines for entry in tail.news()] == [(THIRD.decode().rstrip(),)]
        log.replace(earlier)
        log.write_bytes(FIRST)
        file.write(SECOND)
    assert [len(entry.lines) for entry in tail.news()] == [3, 1], "the last words of the old file, then the new one"
    log.write_bytes(b"")
    tail.news()
    log.write_bytes(THIRD)
    assert len(tail.news()) == 1


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "third.log").symlink_to("secret")
    with pytest.raises(CannotRead):
        Tail(tmp_path, "third").entries(None, 0.0, ALL)
    os.mkfifo(tmp_path / "forth.log")
    assert Tail(tmp_path, "forth").entries(None, 0.0, ALL) == []


def test_only_whole_lines_are_read_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo\nthree\n")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        files = ((descriptor, 14), (descriptor, 4))
        assert _end_of(files, 8) == (b"one\n", False)
        assert _end_of(files, 12) == (b"three\none\n", False)
        assert _end_of(files, 18) == (b"one\ntwo\nthree\none\n", True)
    finally:
        os.close(descriptor)


def test_points_in_time() -> None:
    assert moment_at("5m", NOW) == NOW - 300
    assert moment_at("2026-11-28T11:00", NOW) == NOW - 3600
    assert moment_at("11:30", NOW) == NOW - 1800
    assert (
        moment_at("2026-11-28T12:00:00+00:00", NOW) == datetime.fromisoformat("2026-11-28T12:00:00+00:00").timestamp()
    )
    assert sequence_or_moment("17") == 17
    for wrong in ("", "yesterday", "5 parsecs", "99:99", "2026-13-01"):
        with pytest.raises(argparse.ArgumentTypeError, match="no point in time"):
            moment_at(wrong, NOW)
