"""What becomes of events and of lines of logs, where nothing may wait and everything that is left out is said."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.sandbox import syscalls
from tlsrt.supervisor.events import log_files
from tlsrt.supervisor.events.bus import EventBus
from tlsrt.supervisor.events.journal import fields_of
from tlsrt.supervisor.events.json_lines import LINE_BYTES, JsonLines, encode_json
from tlsrt.supervisor.events.log_entry import INFO, WARNING, LogEntry, entry_of_line_untrusted
from tlsrt.supervisor.events.log_files import BEHIND_BYTES, READ_BYTES
from tlsrt.supervisor.events.log_output import (
    INFO_BURST,
    LATE_S,
    LOOK_S,
    POLL_S,
    SAID_S,
    WAITING_MINOR,
    WAITING_MOST,
    LogConsole,
    LogOutput,
)
from tlsrt.supervisor.events.log_tail import LINE_BYTES as TAIL_BYTES
from tlsrt.supervisor.events.log_tail import LINES_BURST, LogTail
from tlsrt.supervisor.launch import log_sink
from tlsrt.supervisor.launch.journal_stream import is_journal
from tlsrt.supervisor.launch.log_sink import sink_of
from tlsrt.supervisor.process.event_loop import EventLoop


@given(st.lists(st.binary(max_size=40)), st.integers(1, 7))
def test_lines_are_the_same_however_they_come(lines: list[bytes], step: int) -> None:
    data = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    whole, pieces = LogTail(), LogTail()
    expected = whole.take(data, 0.0)
    found = [line for start in range(0, len(data), step) for line in pieces.take(data[start : start + step], 0.0)]
    assert found == expected == [line for line in data.split(b"\n") if line]


def test_a_line_without_end_is_cut_and_a_flood_is_counted() -> None:
    tail = LogTail()
    assert tail.take(b"x" * TAIL_BYTES * 2, 0.0) == [b"x" * TAIL_BYTES]
    assert tail.take(b"x" * TAIL_BYTES * 2 + b"\nnext\n", 0.0) == [b"next"]
    assert len(tail.take(b"y\n" * 1000, 0.0)) == LINES_BURST - 2
    assert tail.take_left_out() == 1000 - LINES_BURST + 2 and tail.take_left_out() == 0
    assert tail.take(b"z\n", 60.0) == [b"z"]


@given(st.text(max_size=3000), st.dictionaries(st.text(max_size=20), st.text(max_size=3000), max_size=4))
def test_a_document_is_one_line_that_a_pipe_takes_at_once(message: str, fields: dict[str, str]) -> None:
    line = encode_json(LogEntry(0, INFO, message, "died", subject="third", fields=fields))
    assert line.count(b"\n") == 1 and len(line) <= LINE_BYTES
    assert json.loads(line)["at"] == "1970-01-01T00:00:00.000Z"


def test_json_is_lost_and_not_waited_for() -> None:
    reader, writer = os.pipe()
    sink = JsonLines(writer)
    while sink.write(LogEntry(0, INFO, "x" * 3000)):
        continue
    assert os.read(reader, 65536).startswith(b'{"at":') and sink.write(LogEntry(0, INFO, "y"))
    os.close(reader)
    assert not sink.write(LogEntry(0, INFO, "x"))
    os.close(writer)


def test_the_journal_is_found_by_what_standard_output_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "x").open("w") as file:
        status = os.fstat(file.fileno())
        assert is_journal(file.fileno(), {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not is_journal(file.fileno(), {"JOURNAL_STREAM": "1:2"}) and not is_journal(file.fileno(), {})
    status = os.fstat(1)
    stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    for path in (tmp_path / "x", tmp_path / "gone"):
        monkeypatch.setattr(log_sink, "SOCKET", str(path))
        assert (sink_of("auto", stream) is not None) == path.exists()
    assert sink_of("text", {}) is None and sink_of("auto", {}) is None
    assert sink_of("journal", {}) is not None and isinstance(sink_of("json", {}), JsonLines)


@dataclass
class Sink:
    """Takes entries, or does not."""

    takes: bool = True
    entries: list[LogEntry] = field(default_factory=list[LogEntry])

    def write(self, entry: LogEntry) -> bool:
        if self.takes:
            self.entries.append(entry)
        return self.takes

    @property
    def messages(self) -> list[str]:
        return [one.message for one in self.entries]


class Stage:
    """A feature with a folder, on a clock of the test."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.event_loop = EventLoop(lambda: self.now)
        self.folder = folder
        self.sink = Sink()
        one = SimpleNamespace(all_programs=(), address="third/kettle", process="third")
        config = SimpleNamespace(
            components=[one], loops=[SimpleNamespace(name="third")],
            components_of=lambda process: [one] if process == "third" else [],
        )  # fmt: skip
        self.bus = EventBus()
        self.console = LogConsole(self.sink)
        context: Any = SimpleNamespace(
            current=SimpleNamespace(config=config), event_loop=self.event_loop, events=self.bus, console=self.console
        )
        self.output = LogOutput(context, self.sink, folder)

    def after(self, seconds: float) -> None:
        self.event_loop.call_later(0.0, lambda: None)
        self.event_loop.run_once()
        self.now += seconds
        self.event_loop.call_later(0.0, lambda: None)
        self.event_loop.run_once()


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    (tmp_path / "third.log").write_text("of another life\n")
    made = Stage(tmp_path)
    yield made
    made.output.stopped(0)
    made.event_loop.close()


def append(stage: Stage, text: str, name: str = "third.log") -> None:
    with (stage.folder / name).open("a") as file:
        file.write(text)


def test_an_event_is_written_at_once_with_its_place(stage: Stage) -> None:
    stage.bus.emit("died", "third", "signal 9", cause="signal")
    [entry] = stage.sink.entries
    assert (entry.event, entry.loop, entry.fields) == ("died", "third", {"cause": "signal"})
    assert entry.place is not None and entry.place[0] == __file__ and entry.place[2].startswith("test_an_event")


def test_what_a_process_writes_comes_once_and_what_was_before_does_not(stage: Stage) -> None:
    append(stage, "2026-01-02 03:04:05,678 WARNING third/kettle: hot\nhalf")
    stage.after(LOOK_S)
    assert stage.sink.messages == ["third/kettle: hot"]
    append(stage, " a line\n")
    append(stage, "of the authority\n", "authority.log")
    stage.after(LOOK_S)
    assert sorted(stage.sink.messages[1:]) == ["authority: of the authority", "third: half a line"]
    os.replace(stage.folder / "third.log", stage.folder / "third.log.1")
    append(stage, "in a new file\n")
    stage.after(LOOK_S)
    assert stage.sink.messages[3:] == ["third: in a new file"]


def move_away(stage: Stage) -> None:
    os.replace(stage.folder / "third.log", stage.folder / "third.log.1")


def test_the_last_words_before_a_log_is_moved_away_are_read_and_not_joined_to_the_next(stage: Stage) -> None:
    append(stage, "a line\nha")
    stage.after(LOOK_S)
    append(stage, "lf\nlast words\nwithout an end")
    move_away(stage)
    append(stage, "of the next life\n")
    stage.after(LOOK_S)
    words = ["a line", "half", "last words", "without an end", "of the next life"]
    assert stage.sink.messages == [f"third: {one}" for one in words]


def test_many_last_words_are_read_in_their_order(stage: Stage) -> None:
    append(stage, f"{'x' * READ_BYTES}\nlast\n")
    move_away(stage)
    append(stage, "next\n")
    stage.after(LOOK_S)
    stage.after(LOOK_S)
    assert stage.sink.messages[1:] == ["third: last", "third: next"]


def test_what_was_moved_away_twice_is_said_to_be_left_out(stage: Stage) -> None:
    append(stage, "lost\n")
    with (stage.folder / "third.log").open():  # so that its number is not given to another one
        move_away(stage)
        append(stage, "lost too\n")
        move_away(stage)
        append(stage, "kept\n")
        stage.after(LOOK_S)
    assert stage.sink.messages[0] == "third: kept"
    assert [(one.event, one.fields) for one in stage.sink.entries[1:]] == [("lines_left_out", {"lines": 1})]


def test_a_link_and_a_name_of_no_process_are_not_read(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a key\n")
    (tmp_path / "forth.log").symlink_to(tmp_path / "secret")
    append(stage, "x\n", "Other Name.log")
    append(stage, "the last\n")
    stage.after(LOOK_S)
    assert stage.sink.messages == ["third: the last"]


def test_a_flood_is_bounded_and_its_rest_is_told_now_and_then(stage: Stage) -> None:
    append(stage, "x\n" * 5000)
    stage.after(LOOK_S)
    assert len(stage.sink.entries) == LINES_BURST + 1
    assert stage.sink.entries[-1].event == "lines_left_out" and stage.sink.entries[-1].fields == {"lines": 4800}
    append(stage, "y" * (BEHIND_BYTES * 2) + "\n")
    stage.after(LOOK_S)
    assert len(stage.sink.entries) == LINES_BURST + 1, "not again so soon"
    append(stage, "z\n")
    stage.after(SAID_S + 1)
    assert stage.sink.messages[-2:] == ["third: z", "third: lines of its log left out of the journal: 1 of them"]


def test_entries_that_were_not_taken_are_told_when_one_is_taken_again(stage: Stage) -> None:
    stage.sink.takes = False
    for number in range(WAITING_MOST + 3):
        stage.bus.emit("died", "third", str(number))
    stage.after(LATE_S)
    assert stage.bus.last == WAITING_MOST + 3, "nothing is told while it is not taken"
    stage.sink.takes = True
    stage.after(LATE_S)
    stage.after(SAID_S)
    *kept, last = stage.sink.entries
    assert [one.sequence for one in kept] == list(range(1, WAITING_MOST + 1))
    assert (last.event, last.fields) == ("entries_lost", {"entries": 3})


def test_lines_and_what_is_no_matter_leave_room_for_alarms(stage: Stage) -> None:
    stage.sink.takes = False
    for number in range(WAITING_MOST):
        stage.bus.emit("session_opened", f"client/{number}")
    append(stage, "2026-01-02 03:04:05,678 ERROR third/kettle: hot\n" * LINES_BURST)
    stage.after(LOOK_S)
    for _ in range(WAITING_MINOR + 1):
        stage.bus.emit("locked", "host")
    stage.sink.takes = True
    stage.after(LATE_S)
    events = [one.event for one in stage.sink.entries]
    assert events == ["session_opened"] * WAITING_MINOR + ["locked"] * WAITING_MINOR
    stage.after(SAID_S)
    assert stage.sink.entries[-1].fields == {"entries": WAITING_MINOR + LINES_BURST + 1}


def test_what_was_left_out_is_said_without_another_line_and_at_the_stop(stage: Stage) -> None:
    append(stage, "x\n" * (LINES_BURST + 1))
    stage.after(LOOK_S)
    append(stage, "x\n" * 100)
    stage.after(LOOK_S)
    stage.after(SAID_S)
    said = [one.fields["lines"] for one in stage.sink.entries if one.event == "lines_left_out"]
    assert len(said) == 2 and 90 < int(said[1] or 0) <= 100
    append(stage, "x\n" * 1000)
    for _ in range(INFO_BURST + 1):
        stage.bus.emit("session_opened", "client/a")
    stage.output.stopped(0)
    lost, left = stage.sink.entries[-2:]
    assert (lost.event, left.event) == ("entries_lost", "lines_left_out") and int(left.fields["lines"] or 0) > 700


def test_a_flood_of_what_is_no_matter_hides_no_alarm(stage: Stage) -> None:
    for number in range(2 * INFO_BURST):
        stage.bus.emit("session_opened", f"client/{number}")
    stage.bus.emit("locked", "host")
    assert len(stage.sink.entries) == INFO_BURST + 1 and stage.sink.entries[-1].event == "locked"
    stage.after(SAID_S)
    assert stage.sink.entries[-1].fields == {"entries": INFO_BURST}


def refuse(*arguments: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("call", ["inotify_init", "inotify_add_watch"])
def test_a_host_without_inotify_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(syscalls, call, refuse)
    stage = Stage(tmp_path)
    for text in ("one", "two"):
        append(stage, f"{text}\n")
        stage.after(POLL_S)
        assert stage.sink.messages[-1:] == [f"third: {text}"]
    stage.output.stopped(0)
    stage.event_loop.close()


def test_a_file_system_that_may_wait_is_said_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def may_wait(*arguments: object, **options: object) -> bytes:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(log_files, "read_at_once", may_wait)
    for _ in range(2):
        append(stage, "x\n")
        stage.after(LOOK_S)
    [entry] = stage.sink.entries
    assert entry.priority == WARNING and "cannot be read without waiting" in entry.message


def test_a_warning_of_the_console_waits_with_the_others(stage: Stage) -> None:
    stage.sink.takes = False
    stage.bus.emit("died", "third")
    stage.console.warning("supervisor", "a bug")
    stage.sink.takes = True
    stage.after(LATE_S)
    assert [one.event for one in stage.sink.entries] == ["died", ""]
    assert stage.sink.messages[1] == "supervisor: a bug"


def test_the_console_of_such_a_host_says_only_what_is_no_event() -> None:
    sink = Sink()
    console = LogConsole(sink)
    console.good("third", "active")
    console.bad("third", "died", "signal 9")
    console.plain("ready", "5 loops")
    console.warning("supervisor", "the sandbox layer x is waived")
    assert sink.messages == ["supervisor: the sandbox layer x is waived"]


def test_a_line_of_a_program_names_it_if_the_component_has_it() -> None:
    known = [("third/cam", "probe")]
    head = b"2026-01-02 03:04:05,678 INFO "

    def entry(line: bytes) -> LogEntry:
        return entry_of_line_untrusted(head + line, "third.cam", ["third/cam"], 0, known)

    found = entry(b"third/cam: probe #7: it \x00 works")
    assert (found.program, found.component) == ("probe", "third/cam")
    assert dict(fields_of(found))["TLSRT_PROGRAM"] == "probe" and json.loads(encode_json(found))["program"] == "probe"
    for line in (b"third/cam: other #7: x", b"third/cam: probe #x: y", b"third/io: probe #7: x", b"probe #7: x"):
        assert entry(line).program == ""
