"""The count of the runs of a task: the kernel keeps it for each, and where it may not be trusted it is not."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tlsrt.sandbox.verify.run_count import FULL_LOOKS, TICKS_S, RunCount, counts, has_ticks

LINE = b"300 20 1\n"


def test_a_task_that_has_run_for_one_system_call_is_counted_each_time() -> None:
    go, done = threading.Semaphore(0), threading.Semaphore(0)
    ids: list[int] = []

    def work() -> None:
        ids.append(threading.get_native_id())
        done.release()
        while len(ids) < 2:
            go.acquire()
            os.getppid()
            done.release()

    thread = threading.Thread(target=work)
    thread.start()
    done.acquire()
    line = f"/proc/self/task/{ids[0]}/schedstat"
    before = b""
    try:
        for _ in range(300):
            go.release()
            done.acquire()
            with open(line, "rb") as file:
                now = file.read()
            assert now != before or not counts(now)  # a kernel that counts nothing has each task looked at in full
            before = now
    finally:
        ids.append(0)
        go.release()
        thread.join()


@pytest.mark.parametrize(("text", "ticks"), [(None, True), ("\n", True), ("(null)\n", True), ("1-3\n", False)])
def test_processors_without_ticks_are_known(tmp_path: Path, text: str | None, ticks: bool) -> None:
    path = tmp_path / "nohz_full"
    if text is not None:
        path.write_text(text)
    assert has_ticks(path) is ticks


def test_a_task_has_slept_only_after_a_look_in_full_by_some_ticks_and_with_the_same_line() -> None:
    runs = RunCount(0)
    assert not runs.has_slept(LINE, 9.0)
    runs.looked(LINE, 9.0)
    assert not runs.has_slept(LINE, 9.0 + TICKS_S / 2)
    assert runs.has_slept(LINE, 9.5)
    assert not runs.has_slept(b"301 20 1\n", 10.0) and not runs.has_slept(b"300 20 2\n", 10.0)
    runs.forget()
    assert not runs.has_slept(LINE, 10.0)


@pytest.mark.parametrize("number", [0, 1, 7, 4711])
def test_every_eighth_look_is_in_full_and_not_the_same_one_for_all(number: int) -> None:
    runs = RunCount(number)
    runs.looked(LINE, 0.0)
    full = [runs.is_full_turn() for _ in range(2 * FULL_LOOKS)]
    assert full.count(True) == 2 and full.index(True) == FULL_LOOKS - 1 - number % FULL_LOOKS
    assert runs.has_slept(LINE, 1.0)  # which it tells all the same
