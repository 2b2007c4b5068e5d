"""A disk that does not answer holds nobody who has state to write, and takes at last what is true by then."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tlsrt.supervisor.authority.model.state import AuthorityState, StateFile
from tlsrt.supervisor.authority.model.state_writer import StateWriterThread, _Job


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

    def __init__(self, disk: Disk, wait_s: float) -> None:
        before = threading.enumerate()
        super().__init__(disk, wait_s)
        [self._thread] = set(threading.enumerate()) - {*before}
        disk.writers.append(self)

    def _run(self) -> None:
        with suppress(SystemExit):
            super()._run()

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


def test_what_was_saved_is_on_the_disk(disk: Disk) -> None:
    thread = Writer(disk, 30)
    for epoch in range(3):
        thread.save(AuthorityState(epoch=epoch))
        assert disk.load().epoch == epoch
    assert not select.select([thread], [], [], 0)[0]


def test_what_the_disk_refuses_is_said(disk: Disk) -> None:
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    thread = Writer(disk, 30)
    with pytest.raises(OSError, match="No space left"):
        thread.save(AuthorityState(epoch=1))
    disk.error = None
    thread.save(AuthorityState(epoch=2))
    assert disk.load().epoch == 2


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_disk_that_hangs_holds_nobody_and_takes_at_last_what_is_true_then(disk: Disk, is_replaced: bool) -> None:
    """It hangs before the new file is written, or when it is in its place and only the folder is to be synced."""
    Writer(disk, 30).save(AuthorityState(epoch=1))
    gate = disk.may_return if is_replaced else disk.may_write
    gate.clear()
    thread = Writer(disk, 0.05)
    true = AuthorityState(epoch=2)
    for _ in range(3):  # the first waits, the others do not
        with pytest.raises(OSError, match="did not answer within"):
            thread.save(AuthorityState(epoch=9))
    assert not thread.has_recovered()
    thread._wait_s = 30
    gate.set()
    assert select.select([thread], [], [], 30)[0]
    assert disk.load().epoch == (9 if is_replaced else 1), "a write that was given up has no effect if that can be"
    assert thread.has_recovered() and not thread.has_recovered()
    thread.save(true)
    assert disk.load().epoch == 2 and not select.select([thread], [], [], 0)[0]
    thread.save(AuthorityState(epoch=3))
    assert disk.load().epoch == 3


def test_a_bug_of_ours_is_an_answer_too(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = Writer(disk, 30)
    monkeypatch.setattr(disk, "replace", lambda data, is_wanted: 1 // 0)
    with pytest.raises(OSError, match="ZeroDivisionError"):
        thread.save(AuthorityState())
