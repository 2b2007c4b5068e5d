"""The set that a process waits in: as the kernel of this machine tells it, and as others do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.sandbox.verify.epoll_wait import epoll_set_of, parse_epoll_wait
from tlsrt.sandbox.verify.kept_files import KeptFiles

SET = 57
_CHILD = f"""
import os, select, sys
waiting = select.epoll()
os.dup2(waiting.fileno(), {SET})
select.epoll.fromfd({SET}).poll()
"""
PLACES_S = 10.0


@pytest.fixture
def waiting() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", _CHILD])
    yield process
    process.kill()
    process.wait()


def until(wanted: Callable[[], bool]) -> bool:
    end = time.monotonic() + PLACES_S
    while not wanted():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_that_waits_is_seen_in_its_set_and_not_while_it_is_stopped(waiting: subprocess.Popen[bytes]) -> None:
    files = KeptFiles(f"/proc/{waiting.pid}")
    if not until(lambda: epoll_set_of(files) == SET):
        assert files.read("wchan") == b"0", files.read("wchan")
        pytest.skip("this kernel hides where a task waits")
    os.kill(waiting.pid, signal.SIGSTOP)
    assert until(lambda: state_of(waiting.pid) == "T")
    assert epoll_set_of(files) is None
    os.kill(waiting.pid, signal.SIGCONT)
    assert until(lambda: epoll_set_of(files) == SET)
    waiting.kill()
    waiting.wait()
    assert epoll_set_of(files) is None
    files.close()


def test_who_runs_or_waits_elsewhere_is_in_no_set() -> None:
    files = KeptFiles("/proc/self")
    assert epoll_set_of(files) is None
    files.close()


@pytest.mark.parametrize(
    ("call", "place", "found"),
    [
        (b"232 0x4 0x7f 0x6 0x49 0x0 0x0 0x7ffc 0x7f29", b"do_epoll_wait", 4),
        (b"22 0x1f 0x7f 0x6 0x49 0x0 0x0 0x7ffc 0x7f29", b"ep_poll.isra.0", 31),
        (b"232 0x4 0x7f 0x6 0x49 0x0 0x0 0x7ffc 0x7f29", b"do_freezer_trap", None),
        (b"232 0x4 0x7f 0x6 0x49 0x0 0x0 0x7ffc 0x7f29", b"do_signal_stop", None),
        (b"232 0x4 0x7f 0x6 0x49 0x0 0x0 0x7ffc 0x7f29", b"ptrace_stop", None),
        (b"202 0x4 0x7f 0x6 0x49 0x0 0x0 0x7ffc 0x7f29", b"futex_do_wait", None),
        (b"running", b"0", None), (b"running", b"ep_poll", None), (b"-1 0x7ffc 0x7f29", b"ep_poll", None),
    ],
)  # fmt: skip
def test_what_kernels_say(call: bytes, place: bytes, found: int | None) -> None:
    assert parse_epoll_wait(call, place) == found


@given(st.binary(max_size=80), st.sampled_from([b"ep_poll", b"do_epoll_wait"]) | st.binary(max_size=20))
def test_whatever_the_kernel_says_it_cannot_fail(call: bytes, place: bytes) -> None:
    found = parse_epoll_wait(call, place)
    assert found is None or isinstance(found, int)
