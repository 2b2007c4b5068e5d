"""Limits from outside: texts of /proc, comparison, and lowering those of real processes, also of another uid."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tlsrt.sandbox.apply.rlimits import INFINITE, kind_of, limit_differences, parse_limits, tighten

TEXT = Path("/proc/self/limits").read_text()
UID = 771009 if os.geteuid() == 0 else os.geteuid()  # without root there is no other


def test_the_kernels_text_and_getrlimit_agree() -> None:
    limits = parse_limits(TEXT)
    assert {"nofile", "core", "data", "nproc", "fsize", "memlock", "msgqueue", "stack"} <= set(limits)
    for name, values in limits.items():
        kind = kind_of(name)
        if kind is not None:
            assert values == resource.getrlimit(kind), name


def test_a_text_that_is_none() -> None:
    assert parse_limits("") == {}
    with pytest.raises(ValueError, match="lots"):
        parse_limits("Limit\nMax open files            lots                 lots                 files\n")


@pytest.mark.parametrize(
    ("present", "wanted", "good"),
    [
        ((256, 256), 256, True),
        ((16, 256), 256, True),
        ((0, 0), 256, True),
        ((256, 257), 256, False),
        ((257, 257), 256, False),
        ((256, INFINITE), 256, False),
        ((INFINITE, INFINITE), 0, False),
        ((INFINITE, INFINITE), INFINITE, True),
    ],
)
def test_only_what_is_above_is_a_difference(present: tuple[int, int], wanted: int, good: bool) -> None:
    assert (limit_differences({"nofile": present}, {"nofile": wanted}) == []) is good


def test_a_limit_that_is_not_shown_is_a_difference() -> None:
    assert limit_differences({}, {"nofile": 1}) == ["its limit nofile cannot be read"]


def _wait() -> None:
    while True:
        signal.pause()


def _as_a_loop() -> None:
    if os.geteuid() != UID:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
    _wait()


@pytest.fixture
def forked() -> Iterator[Callable[[Callable[[], None]], int]]:
    pids: list[int] = []

    def fork(body: Callable[[], None]) -> int:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.set_inheritable(writer, False)
                os.close(writer)
                body()
            finally:
                os._exit(1)
        os.close(reader)
        os.close(writer)
        pids.append(pid)
        return pid

    yield fork
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _limits(pid: int) -> Mapping[str, tuple[int, int]]:
    return parse_limits(Path(f"/proc/{pid}/limits").read_text())


def test_a_running_process_gets_tighter_limits(forked: Callable[[Callable[[], None]], int]) -> None:
    pid = forked(_wait)
    assert tighten(pid, {"nofile": 40, "core": 0}, uid=os.getuid(), gid=os.getgid()) == []
    assert _limits(pid)["nofile"] == (40, 40) and _limits(pid)["core"] == (0, 0)
    assert tighten(pid, {"nofile": 60}, uid=os.getuid(), gid=os.getgid()) == [], "a lower one is fine"
    assert _limits(pid)["nofile"] == (40, 40), "and stays: nothing is ever made wider"


def test_one_of_another_uid_too_without_the_capability_for_it(forked: Callable[[Callable[[], None]], int]) -> None:
    pid = forked(_as_a_loop)
    while f"Uid:\t{UID}\t{UID}\t{UID}" not in Path(f"/proc/{pid}/status").read_text():
        os.sched_yield()
    assert tighten(pid, {"nofile": 40, "fsize": 1 << 20}, uid=UID, gid=UID if os.geteuid() == 0 else os.getgid()) == []
    assert _limits(pid)["nofile"] == (40, 40) and _limits(pid)["fsize"] == (1 << 20, 1 << 20)


def test_what_cannot_be_is_said(forked: Callable[[Callable[[], None]], int]) -> None:
    pid = forked(_wait)
    assert tighten(pid, {"luck": 7, "core": 0}, uid=os.getuid(), gid=os.getgid()) == ["there is no limit 'luck'"]
    assert tighten(0x3FFFFFFF, {"nofile": 40}, uid=os.getuid(), gid=os.getgid()) == [
        "cannot lower its limit nofile: No such process"
    ]
