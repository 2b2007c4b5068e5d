"""No disk holds the authority's loop; a change has no effect before it is on the disk; a slow one only delays it."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tlsrt.channels.clock import Moment
from tlsrt.errors import NotFound
from tlsrt.supervisor.authority.model.state import AuthorityState, StateFile, decode_state, encode_state
from tlsrt.supervisor.authority.model.state_writer import (
    KEPT_MS,
    NOT_WRITTEN,
    PATIENCE_MS,
    RETRY_MS,
    SLOW_MS,
    STALLED,
    StateWriter,
    StateWriterThread,
    Undo,
    Written,
    _Job,
)


class Hand:
    """A disk whose answer the test gives, as a StateThread."""

    def __init__(self) -> None:
        self.given: list[AuthorityState] = []
        self.answer: Written | None = None
        self.given_up = 0

    def give(self, data: bytes) -> None:
        self.given.append(decode_state(data))

    def take(self) -> Written | None:
        answer, self.answer = self.answer, None
        return answer

    def give_up(self) -> None:
        self.given_up += 1

    def wait(self, timeout_s: float) -> None:
        if self.answer is None:
            self.answer = Written()


class Host:
    """A writer with its state and what it tells; the test moves the clock."""

    def __init__(self) -> None:
        self.hand, self.state = Hand(), AuthorityState(epoch=1)
        self.told: list[str] = []
        self.lines: list[str] = []
        self.said: list[str] = []
        self.now = 0
        self.writer = StateWriter(self.hand, self.state, self)

    def tell(self, name: str, *fields: object, descriptors: object = ()) -> None:
        self.told.append(str(fields[0]))

    def log(self, line: str) -> None:
        self.lines.append(line)

    def send(self, loop: str, name: str, *fields: object, descriptors: object = ()) -> None:
        raise AssertionError(name)

    def is_blocked(self, loop: str) -> bool:
        return False

    def add(self, name: str, limit: int = 9) -> None:
        """Ask for a change: another client's first open, at most `limit` of them."""

        def apply() -> Undo:
            if len(self.state.first_opens) >= limit:
                raise NotFound("too many")
            self.state.first_opens[name] = 1

            def undo() -> None:
                del self.state.first_opens[name]

            return undo

        self.writer.change(apply, lambda: self.said.append(name), self.said.append, self.now)

    def tick(self, now: int, answer: Written | None = None) -> None:
        self.now, self.hand.answer = now, answer
        self.writer.tick(Moment(now, 0))

    @property
    def known(self) -> list[str]:
        return list(self.state.first_opens)


FAILED = Written(OSError(errno.ENOSPC, "No space left on device"), is_replaced=False)


def test_a_change_has_no_effect_before_it_is_on_the_disk_however_long_that_takes() -> None:
    host = Host()
    host.add("a")
    for now in (250, 1_000, 5_000, PATIENCE_MS - 1):
        host.tick(now)
        assert host.known == [] and host.said == []
    assert [list(each.first_opens) for each in host.hand.given] == [["a"]]
    host.tick(PATIENCE_MS - 1, Written())
    assert host.known == host.said == ["a"]
    assert host.told == [STALLED, ""], "meanwhile the supervisor knows why it takes so long"


def test_all_that_waits_goes_into_one_write() -> None:
    host = Host()
    for name in "abc":
        host.add(name)
    assert [list(each.first_opens) for each in host.hand.given] == [["a"]]
    host.tick(5_000, Written())
    assert [list(each.first_opens) for each in host.hand.given] == [["a"], ["a", "b", "c"]] and host.said == ["a"]
    host.tick(10_000, Written())
    assert host.known == host.said == ["a", "b", "c"]


def test_what_is_in_force_already_is_written_with_a_change_that_is_not() -> None:
    host, stored = Host(), list[bool]()
    host.add("a")
    host.state.revoke("subject", b"client/b", 0)
    host.writer.keep(10, stored.append)
    assert stored == []
    host.tick(20, Written())
    assert host.said == ["a"] and list(host.hand.given[1].first_opens) == ["a"]
    assert host.hand.given[1].is_revoked("subject", b"client/b")
    host.tick(30, Written())
    assert stored == [True]


def test_a_disk_that_refuses_changes_nothing_and_takes_at_last_what_is_true() -> None:
    host, stored = Host(), list[bool]()
    host.add("a")
    host.add("b")
    host.state.epoch = 7
    host.writer.keep(0, stored.append)
    host.tick(10, FAILED)
    assert host.said == [NOT_WRITTEN, NOT_WRITTEN] and host.known == [] and host.told[0].endswith("left on device")
    assert host.writer.next_due() == 10 + RETRY_MS
    host.tick(10 + RETRY_MS)
    assert (host.hand.given[-1].epoch, host.hand.given[-1].first_opens) == (7, {})
    host.tick(1_200, Written())
    assert stored == [True] and host.told[-1] == "" and host.writer.next_due() is None


def test_a_change_that_has_become_wrong_meanwhile_is_refused_and_taken_from_the_disk() -> None:
    host = Host()
    host.add("a", limit=1)
    host.state.first_opens["z"] = 1  # something in force at once was faster
    host.tick(10, Written())
    assert host.said == ["too many"] and host.known == ["z"]
    assert list(host.hand.given[-1].first_opens) == ["z"]


def test_a_disk_that_hangs_is_told_and_the_change_given_up_in_time() -> None:
    host, stored = Host(), list[bool]()
    host.add("a")
    host.tick(10_000)
    host.add("b")
    host.writer.keep(10_000, stored.append)
    host.tick(10_000 + KEPT_MS)
    assert stored == [False] and host.said == []
    host.tick(PATIENCE_MS)
    assert host.said == [NOT_WRITTEN] and host.hand.given_up == 1
    host.tick(PATIENCE_MS + 1, Written(is_replaced=False))  # the disk is back
    assert list(host.hand.given[-1].first_opens) == ["b"]
    host.tick(PATIENCE_MS + 2, Written())
    assert host.known == ["b"] and host.said == [NOT_WRITTEN, "b"]


def test_a_file_that_was_replaced_after_all_is_replaced_again_by_what_is_true() -> None:
    host = Host()
    host.add("a")
    host.tick(PATIENCE_MS)
    assert host.said == [NOT_WRITTEN]
    host.tick(PATIENCE_MS + 1, Written())  # it hung when the file was in its place
    assert host.known == [] and [list(each.first_opens) for each in host.hand.given] == [["a"], []]


def test_what_follows_a_change_may_ask_for_another() -> None:
    host = Host()
    host.writer.change(lambda: lambda: None, lambda: host.add("a"), host.said.append, 0)
    host.tick(1, Written())
    host.tick(2, Written())
    assert host.known == host.said == ["a"] and host.writer.next_due() is None


def test_a_bug_in_what_follows_ends_nothing() -> None:
    host = Host()
    host.writer.change(lambda: lambda: None, lambda: 1 // 0, host.said.append, 0)  # type: ignore[arg-type]
    host.add("a")
    host.tick(1, Written())
    host.tick(2, Written())
    assert host.known == ["a"] and "ZeroDivisionError" in host.lines[0]


def test_the_end_writes_what_is_in_force_and_refuses_what_waits() -> None:
    host = Host()
    host.writer.keep(0)
    host.state.epoch = 8
    host.writer.keep(0)
    host.add("a")
    host.writer.finish(Moment(1, 0))
    assert host.hand.given[-1].epoch == 8 and host.known == [] and host.said[0].startswith("the authority ends")
    assert SLOW_MS < PATIENCE_MS and host.lines == []


# The thread, on a real disk


class Disk(StateFile):
    """A disk that answers when it may: before the new file is written, or when it is in its place."""

    def __init__(self, folder: int) -> None:
        super().__init__(folder)
        self.may_write, self.may_return = threading.Event(), threading.Event()
        self.may_write.set()
        self.may_return.set()
        self.error: BaseException | None = None
        self.writers: list[Writer] = []

    def replace(self, data: bytes, is_wanted: Callable[[], bool] = lambda: True) -> None:
        assert self.may_write.wait(30)
        if self.error is not None:
            raise self.error
        super().replace(data, is_wanted)
        assert self.may_return.wait(30)


class Writer(StateWriterThread):
    """One whose thread ends with the test."""

    def __init__(self, disk: Disk) -> None:
        before = threading.enumerate()
        super().__init__(disk)
        [self._thread] = set(threading.enumerate()) - {*before}
        disk.writers.append(self)

    def _run(self) -> None:
        with suppress(SystemExit):
            super()._run()

    def save(self, epoch: int) -> Written:
        self.give(encode_state(AuthorityState(epoch=epoch)))
        self.wait(30)
        written = self.take()
        assert written is not None
        return written

    def end(self) -> None:
        self._jobs.put(_Job(b""))
        self._thread.join(30)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    made = Disk(descriptor)
    yield made
    made.error = SystemExit()  # no thread stays: later tests fork
    for writer in made.writers:
        writer.end()
    os.close(descriptor)


def test_what_was_written_is_on_the_disk_and_what_it_refuses_is_said(disk: Disk) -> None:
    thread = Writer(disk)
    assert thread.take() is None
    for epoch in range(3):
        assert thread.save(epoch) == Written()
        assert disk.load().epoch == epoch
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    refused = thread.save(9)
    assert refused.error is not None and not refused.is_replaced and disk.load().epoch == 2
    disk.error = None
    assert thread.save(4) == Written() and not select.select([thread], [], [], 0)[0]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_write_that_is_given_up_has_no_effect_if_that_can_be(disk: Disk, is_replaced: bool) -> None:
    """The disk hangs before the new file is written, or when it is in its place and only the folder is to be synced."""
    thread = Writer(disk)
    thread.save(1)
    gate = disk.may_return if is_replaced else disk.may_write
    gate.clear()
    thread.give(encode_state(AuthorityState(epoch=9)))
    while is_replaced and disk.load().epoch != 9:
        pass
    thread.give_up()
    gate.set()
    thread.wait(30)
    assert thread.take() == Written(is_replaced=is_replaced)
    assert disk.load().epoch == (9 if is_replaced else 1)
    assert thread.save(2) == Written() and disk.load().epoch == 2


def test_a_bug_of_ours_is_an_answer_too(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = Writer(disk)
    monkeypatch.setattr(disk, "replace", lambda data, is_wanted: 1 // 0)
    assert "ZeroDivisionError" in str(thread.save(1).error)


def test_what_only_another_change_forbids_waits_until_that_is_on_the_disk() -> None:
    host = Host()
    host.writer.keep(0)  # so that both wait for the same write
    host.add("a", limit=1)
    host.add("b", limit=1)
    host.tick(10, Written())
    assert host.said == [] and host.known == []
    host.tick(20, FAILED)
    assert host.said == [NOT_WRITTEN, NOT_WRITTEN], "neither is there, so neither stood in the way"
    host.add("c", limit=1)
    host.add("d", limit=1)
    host.tick(20 + RETRY_MS, Written())
    host.tick(30 + RETRY_MS, Written())
    host.tick(40 + RETRY_MS, Written())
    assert (host.known, host.said[2:]) == (["c"], ["c", "too many"])


def test_a_bug_in_a_change_takes_no_other_along_and_leaves_nothing() -> None:
    host = Host()
    host.writer.keep(0)
    host.add("a")

    def broken() -> Undo:
        raise KeyError("a bug")

    host.writer.change(broken, lambda: host.said.append("never"), host.said.append, 0)
    host.add("b")
    host.tick(10, Written())
    assert host.said == [NOT_WRITTEN] and host.known == []
    host.tick(20, Written())
    assert host.said[1:] == ["a", "b"] and host.known == ["a", "b"]


def test_a_bug_in_a_change_that_is_on_the_disk_takes_no_answer_along() -> None:
    host = Host()
    times: list[int] = []

    def broken_the_second_time() -> Undo:
        times.append(1)
        if len(times) > 1:
            raise KeyError("a bug")
        host.state.epoch = 8

        def undo() -> None:
            host.state.epoch = 1

        return undo

    host.writer.keep(0)
    host.writer.change(broken_the_second_time, lambda: host.said.append("never"), host.said.append, 0)
    host.add("a")
    host.tick(10, Written())  # the first write, of what is kept; the changes go into the next one
    host.tick(20, Written())
    assert host.said == [NOT_WRITTEN, "a"] and host.known == ["a"]
    assert "KeyError" in host.lines[-1]
    assert [each.epoch for each in host.hand.given] == [1, 8, 1], "what was not made is off the disk again"
    host.tick(30, Written())
    assert host.writer.next_due() is None
