"""Who waits for a record is answered once and in time; what does not fit is counted; a full disk leaves no trace."""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.audit_log import INSTALL, ROOT, TRUSTED, file_key, public, seeds

from tlsrt.channels.clock import Moment
from tlsrt.errors import ConfigError
from tlsrt.supervisor.audit import group_commit as recorders
from tlsrt.supervisor.audit.group_commit import NOTES_MAX, GroupCommit, stalled
from tlsrt.supervisor.audit.open import AuditKeys, OpenedLog, open_log, public_of
from tlsrt.supervisor.audit.record import LogRecord, read_entry_untrusted
from tlsrt.supervisor.audit.recorder import OPENING, OPERATOR, PROMPT, Patience
from tlsrt.supervisor.audit.verify import VerifyReport, verify
from tlsrt.supervisor.audit.writer import CHECKPOINT_MS, Done, Head, Work, WriterThread

WAIT_MS = 250
SOON = Patience(WAIT_MS)
STALLED = stalled(SOON)
FULL = "the audit log cannot be written (No space left on device): make room on its disk, or mend it"


class Hand:
    """A disk whose answer the test gives."""

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.done: Done | None = None

    def give(self, work: Work) -> None:
        self.works.append(work)

    def take(self) -> Done | None:
        done, self.done = self.done, None
        return done


class Asked:
    def __init__(self, recorder: GroupCommit, now: int, kind: str = "grant", patience: Patience = SOON) -> None:
        self.said: list[str] = []
        recorder.before(
            kind, "client/a", {}, Moment(now, 0), lambda: self.said.append("then"), self.said.append, patience
        )


class Seen:
    """What the log has told; a line is a failure unless the test waits for it."""

    def __init__(self, *, may_log: bool = False) -> None:
        self.heads: list[Head] = []
        self.problems: list[str] = []
        self.lines: list[str] = []
        self._may_log = may_log

    def head_signed(self, head: Head) -> None:
        self.heads.append(head)

    def written(self, done: Done) -> None:
        pass

    def problem_changed(self, problem: str) -> None:
        self.problems.append(problem)

    def log(self, line: str) -> None:
        assert self._may_log, line
        self.lines.append(line)


def recorder_of(hand: Hand, seen: Seen | None = None) -> GroupCommit:
    return GroupCommit(hand, 0, seen or Seen())


def kinds(work: Work) -> list[str]:
    return [record.kind for record in work.records]


def test_records_that_wait_together_are_written_together_and_then_have_effect() -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    asked = [Asked(recorder, 0)]
    recorder.tick(Moment(0, 0))
    asked += [Asked(recorder, 1), Asked(recorder, 2)]
    recorder.tick(Moment(2, 0))
    assert len(hand.works) == 1 and asked[0].said == []
    hand.done = Done()
    recorder.tick(Moment(3, 0))
    assert asked[0].said == ["then"] and asked[1].said == [] and len(hand.works[1].records) == 2
    hand.done = Done()
    recorder.tick(Moment(4, 0))
    assert [each.said for each in asked] == [["then"]] * 3


def test_ordinary_records_wait_a_moment_for_others() -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    recorder.note("offence", "third", {}, Moment(0, 0))
    recorder.tick(Moment(recorders.NOTE_MS - 1, 0))
    assert hand.works == [] and recorder.next_due() == recorders.NOTE_MS
    Asked(recorder, recorders.NOTE_MS - 1)
    recorder.tick(Moment(recorders.NOTE_MS - 1, 0))
    assert kinds(hand.works[0]) == ["offence", "grant"]


def test_a_stalled_disk_refuses_in_time_and_says_afterwards_what_was_not_done() -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    first = Asked(recorder, 0)
    recorder.tick(Moment(0, 0))
    second = Asked(recorder, 60)  # by a clock that it read before
    recorder.tick(Moment(100, 0))
    assert recorder.next_due() == WAIT_MS
    recorder.tick(Moment(WAIT_MS - 1, 0))
    assert first.said == []
    recorder.tick(Moment(WAIT_MS, 0))
    assert first.said == [STALLED] and second.said == []
    third = Asked(recorder, WAIT_MS)
    assert third.said == [STALLED]  # known to stall: at once
    recorder.tick(Moment(100 + WAIT_MS, 0))
    assert second.said == [STALLED]
    hand.done = Done()
    recorder.tick(Moment(900, 0))
    recorder.tick(Moment(900 + recorders.NOTE_MS, 0))
    assert kinds(hand.works[1]) == ["not_done"]
    assert first.said == second.said == third.said == [STALLED]


def test_a_slow_disk_makes_sessions_and_commands_late_and_refuses_none() -> None:
    hand, seen = Hand(), Seen()
    recorder = recorder_of(hand, seen)
    asked = [Asked(recorder, 0, patience=OPENING), Asked(recorder, 0, patience=OPERATOR)]
    for sync in range(3):
        recorder.tick(Moment(5_000 * sync, 0))
        asked.append(Asked(recorder, 5_000 * sync + 2_500, patience=OPENING))
        recorder.tick(Moment(5_000 * sync + 2_500, 0))
        assert all("then" in each.said for each in asked[:-2] if sync)
        hand.done = Done()
    recorder.tick(Moment(15_000, 0))
    assert [each.said for each in asked] == [["then"]] * 4 + [[]] and seen.problems == []


def test_a_disk_that_hangs_turns_sessions_away_after_their_time_and_then_at_once() -> None:
    hand, seen = Hand(), Seen()
    recorder = recorder_of(hand, seen)
    first = Asked(recorder, 0, patience=OPENING)
    recorder.tick(Moment(0, 0))
    recorder.tick(Moment(OPENING.wait_ms - 1, 0))
    assert first.said == []
    recorder.tick(Moment(OPENING.wait_ms, 0))
    assert first.said == seen.problems == [stalled(OPENING)]
    assert Asked(recorder, OPENING.wait_ms + 1, patience=OPENING).said == [stalled(OPENING)]
    assert Asked(recorder, OPENING.wait_ms + 1, patience=OPERATOR).said == []


def test_what_ends_something_is_done_without_its_record_which_is_written_late_and_true() -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    Asked(recorder, 0, "session", OPENING)
    recorder.tick(Moment(0, 0))
    revoked = [Asked(recorder, 0, "revoke", PROMPT), Asked(recorder, 10, "revoke", PROMPT)]
    recorder.tick(Moment(10, 0))
    recorder.tick(Moment(10 + PROMPT.wait_ms, 0))
    revoked.append(Asked(recorder, 10 + PROMPT.wait_ms, "revoke", PROMPT))  # known to stall: at once
    assert [each.said for each in revoked] == [[stalled(PROMPT)]] * 3
    hand.done = Done()
    recorder.tick(Moment(2_000, 0))
    assert kinds(hand.works[1]).count("revoke") == 3, "a revocation that was carried out has its record"
    revoked.append(Asked(recorder, 2_000, "revoke", PROMPT))
    hand.done = Done(FULL)
    recorder.tick(Moment(2_001, 0))
    recorder.tick(Moment(2_001 + recorders.RETRY_MS, 0))
    hand.done = Done()
    recorder.tick(Moment(5_000, 0))
    recorder.tick(Moment(6_000, 0))
    assert "not_done" not in [kind for work in hand.works for kind in kinds(work)]


def test_the_end_of_a_problem_is_noticed_without_anything_to_record() -> None:
    hand, seen = Hand(), Seen()
    recorder = recorder_of(hand, seen)
    Asked(recorder, 0)
    recorder.tick(Moment(0, 0))
    hand.done = Done(FULL)
    recorder.tick(Moment(1, 0))
    assert seen.problems == [FULL] and recorder.next_due() == 1 + recorders.RETRY_MS
    recorder.tick(Moment(1 + recorders.RETRY_MS, 0))
    assert hand.works[-1].is_signed and hand.works[-1].records == [], "an empty write would show nothing of a full disk"
    hand.done = Done(FULL)
    recorder.tick(Moment(3_000, 0))
    recorder.tick(Moment(3_000 + recorders.RETRY_MS, 0))
    hand.done = Done()
    recorder.tick(Moment(5_000, 0))
    assert seen.problems == [FULL, ""]


def test_a_full_disk_refuses_at_once_and_keeps_ordinary_records() -> None:
    hand = Hand()
    seen = Seen()
    recorder, problems = recorder_of(hand, seen), seen.problems
    recorder.note("offence", "third", {}, Moment(0, 0))
    asked = Asked(recorder, 1)
    recorder.tick(Moment(1, 0))
    hand.done = Done(FULL)
    recorder.tick(Moment(2, 0))
    assert asked.said == [FULL] and problems == [FULL]
    assert recorder.next_due() == 2 + recorders.RETRY_MS
    recorder.tick(Moment(2 + recorders.RETRY_MS, 0))
    assert kinds(hand.works[1]) == ["offence"]
    hand.done = Done()
    recorder.tick(Moment(3000, 0))
    assert problems == [FULL, ""]


def test_what_does_not_fit_is_counted_once_it_can_be() -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    for _ in range(NOTES_MAX + 7):
        recorder.note("offence", "third", {}, Moment(0, 0))
    recorder.tick(Moment(100, 0))
    assert hand.works[0].records[0].kind == "dropped" and hand.works[0].records[0].detail == (("records", 7),)
    hand.done = Done(FULL)
    recorder.tick(Moment(200, 0))
    recorder.tick(Moment(200 + recorders.RETRY_MS, 0))
    assert hand.works[1].records[0].detail == (("records", 7),)  # the first one was not written
    hand.done = Done()
    recorder.tick(Moment(2000, 0))
    assert "dropped" not in kinds(hand.works[2])


def test_those_who_wait_are_bounded() -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    asked = [Asked(recorder, 0) for _ in range(recorders.WAITERS_MAX + 1)]
    assert asked[-1].said == [recorders.FULL] and asked[-2].said == []


def test_a_bug_in_what_follows_one_record_ends_nothing() -> None:
    hand, seen = Hand(), Seen(may_log=True)
    recorder, lines = recorder_of(hand, seen), seen.lines
    recorder.before("grant", "a", {}, Moment(0, 0), lambda: 1 // 0, lambda sentence: None)  # type: ignore[arg-type]
    asked = Asked(recorder, 0)
    recorder.tick(Moment(0, 0))
    hand.done = Done()
    recorder.tick(Moment(1, 0))
    assert asked.said == ["then"] and "ZeroDivisionError" in lines[0]


def test_whoever_waits_at_the_end_is_told() -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    first = Asked(recorder, 0)
    recorder.tick(Moment(0, 0))
    second = Asked(recorder, 1)
    recorder.note("stop", "host", {}, Moment(1, 0))
    work = recorder.rest(Moment(2, 0), "stopped")
    assert (kinds(work), work.end) == (["grant", "stop"], "stopped")
    assert first.said == second.said == ["the authority ends"]


def test_an_unsigned_end_gets_a_checkpoint_in_time() -> None:
    hand = Hand()
    seen = Seen()
    recorder, heads = recorder_of(hand, seen), seen.heads
    recorder.note("a", "b", {}, Moment(0, 0))
    recorder.tick(Moment(50, 0))
    hand.done = Done()
    recorder.tick(Moment(60, 0))
    assert recorder.next_due() == 60 + CHECKPOINT_MS
    recorder.tick(Moment(60 + CHECKPOINT_MS, 0))
    assert hand.works[1].records == []
    hand.done = Done(head=Head(1, 2, bytes(32), 3))
    recorder.tick(Moment(6000, 0))
    assert len(heads) == 1 and recorder.next_due() is None


# On a real disk


@pytest.fixture
def state(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def opened(state: int, life: int, known: int = 0) -> OpenedLog:
    given = AuditKeys(bytes(bytearray(ROOT)), INSTALL, bytes(16), life, known)
    return open_log(state, given, "boot", {"epoch": life}, Moment(life, 0), seeds())


def verified(tmp_path: Path, *, must_be_closed: bool = False) -> VerifyReport:
    files = [(path.name, path.read_bytes()) for path in sorted((tmp_path / "audit").glob("audit-*.log"))]
    return verify(files, TRUSTED, file_key=file_key, must_be_closed=must_be_closed)


def records(path: Path) -> list[LogRecord]:
    data, found, at = path.read_bytes(), list[LogRecord](), 0
    while (entry := read_entry_untrusted(data, at)) is not None:
        found += [entry.value] if isinstance(entry.value, LogRecord) else []
        at = entry.end
    return found


def some(number: int, start: int = 0) -> list[LogRecord]:
    return [LogRecord(start + at, 0, "offence", "third", (("n", at),)) for at in range(number)]


def test_lives_follow_each_other_over_kills_and_stops(tmp_path: Path, state: int) -> None:
    first = opened(state, 1).writer
    assert first.write(Work(some(300), 10, 0)).problem == ""
    first.close()  # killed
    path = tmp_path / "audit" / "audit-00000001.log"
    with path.open("ab") as file:
        file.write(b"\0\0\1\0torn")
    second = opened(state, 2)
    assert second.warnings == ()
    assert second.writer.write(Work([], 20, 0, "stopped")).head is not None
    third = opened(state, 3).writer
    report = verified(tmp_path)
    assert report.fault is None and (report.files, report.is_closed) == (3, False)
    cut = records(tmp_path / "audit" / "audit-00000002.log")[1]
    assert cut.kind == "log_cut" and dict(cut.detail) == {"after": 303, "bytes_left": 8, "file": 1, "problem": ""}
    assert [each.kind for each in records(tmp_path / "audit" / "audit-00000003.log")] == ["boot"]
    third.close()


def test_a_log_that_somebody_changed_goes_on_and_says_so(tmp_path: Path, state: int) -> None:
    writer = opened(state, 1).writer
    writer.write(Work(some(5), 10, 0))
    writer.close()
    path = tmp_path / "audit" / "audit-00000001.log"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the MAC of the last entry, which no checkpoint has signed
    path.write_bytes(data)
    again = opened(state, 2)
    assert len(again.warnings) == 1 and "not written by this host" in again.warnings[0]
    report = verified(tmp_path)
    assert report.fault is not None and report.fault.file == path.name
    (tmp_path / "audit" / "audit-00000002.log").write_bytes(b"")
    third = opened(state, 3)
    assert "does not begin" in third.warnings[0]
    assert sorted(os.listdir(tmp_path / "audit"))[-1] == "audit-00000003.log"


def test_a_log_that_was_cut_off_or_taken_away_is_noticed_at_the_boot(tmp_path: Path, state: int) -> None:
    writer = opened(state, 1).writer
    writer.write(Work(some(5), 10, 0))
    writer.close()
    path = tmp_path / "audit" / "audit-00000001.log"
    data = path.read_bytes()
    entry = read_entry_untrusted(data, 0)
    assert entry is not None
    path.write_bytes(data[: entry.end])
    assert "sequence 1 (there was a sequence 7 once)" in opened(state, 2, known=7).warnings[0]
    for each in (tmp_path / "audit").iterdir():
        each.unlink()
    assert "there was a sequence 9 once" in opened(state, 3, known=9).warnings[0]
    assert [each.kind for each in records(path)] == ["boot", "log_cut"]
    assert opened(state, 4, known=3).warnings == ()


def test_files_are_rotated_and_their_keys_go_forward(tmp_path: Path, state: int) -> None:
    base = opened(state, 1)
    base.writer._file_max = 4_000
    for number in range(40):
        assert base.writer.write(Work(some(20), 20 * number, 0)).problem == ""
    base.writer.write(Work([], 9000, 0, "stopped", root_key=public_of(bytes(32))))
    report = verified(tmp_path, must_be_closed=True)
    assert report.fault is None and report.files > 10 and report.records == 801


def test_a_write_that_fails_is_as_if_it_had_never_been(tmp_path: Path, state: int) -> None:
    """RLIMIT_FSIZE cuts a batch in its middle, as a full disk does; in a child, since the limit is the process's."""
    writer = opened(state, 1).writer
    path = tmp_path / "audit" / "audit-00000001.log"
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, hard))
        done = writer.write(Work(some(100), 10, 0))
        assert "File too large" in done.problem and path.stat().st_size == size
        assert writer.write(Work(some(1), 10, 0)).problem == ""
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert writer.write(Work(some(3), 20, 0, "stopped")).problem == ""
    report = verified(tmp_path, must_be_closed=True)
    assert report.fault is None and report.records == 1 + 1 + 3


def test_a_folder_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path, state: int) -> None:
    (tmp_path / "audit").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot write the audit log: Not a directory"):
        opened(state, 1)


def test_the_thread_writes_and_ends(tmp_path: Path, state: int) -> None:
    log = opened(state, 1)
    thread = WriterThread(log.writer)
    recorder = GroupCommit(thread, 0, Seen())
    asked = Asked(recorder, 0)
    recorder.tick(Moment(0, 0))
    assert select.select([thread], [], [], 10)[0]
    recorder.tick(Moment(1, 0))
    assert asked.said == ["then"]
    thread.give(recorder.rest(Moment(2, 0), "stopped"))
    assert thread.finish(10)
    report = verified(tmp_path, must_be_closed=True)
    assert report.fault is None and report.records == 2


def test_the_public_key_comes_from_the_root() -> None:
    assert public_of(bytes(bytearray(ROOT))) == public()


@pytest.mark.parametrize("kind", ["state_kept", "client_revoked", "locked"])
def test_what_the_state_rests_on_is_dropped_by_no_flood_of_others(kind: str) -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    for number in range(NOTES_MAX):
        recorder.note("session_closed", "client/busy", {}, Moment(0, 0))
        if number % 100 == 99:
            recorder.tick(Moment(0, 0))
            hand.done = Done()
    hand.done = Done()
    recorder.tick(Moment(100, 0))
    recorder.note("session_closed", "client/busy", {}, Moment(100, 0))
    recorder.note(kind, "authority", {}, Moment(100, 0))
    for now in range(200, 3_000, 100):
        recorder.tick(Moment(now, 0))
        hand.done = Done()
    assert kind in [word for work in hand.works for word in kinds(work)]


@pytest.mark.parametrize("kind", ["state_kept", "client_revoked", "locked"])
def test_a_security_record_takes_the_place_of_another_when_the_disk_stalls(kind: str) -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    recorder.note("session_closed", "client/busy", {}, Moment(0, 0))
    recorder.tick(Moment(100, 0))  # with a disk that does not answer
    for second in range(1, 3):
        for _ in range(NOTES_MAX):
            recorder.note("session_closed", "client/busy", {}, Moment(1_000 * second, 0))
    dropped = recorder.dropped
    recorder.note(kind, "authority", {}, Moment(3_000, 0))
    assert recorder.dropped == dropped + 1, "the one that made room is counted"
    for now in range(4_000, 6_000, 100):
        hand.done = Done()
        recorder.tick(Moment(now, 0))
    written = [word for work in hand.works for word in kinds(work)]
    assert written.count(kind) == 1 and written.count("session_closed") == NOTES_MAX


def test_security_records_that_fill_the_queue_are_bounded_and_counted() -> None:
    hand = Hand()
    recorder = recorder_of(hand)
    recorder.note("session_closed", "client/busy", {}, Moment(0, 0))
    recorder.tick(Moment(100, 0))
    for _ in range(NOTES_MAX + 7):
        recorder.note("client_revoked", "client/a", {}, Moment(200, 0))
    assert recorder.dropped == 7
