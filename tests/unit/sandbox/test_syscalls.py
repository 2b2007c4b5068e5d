"""System calls: the right numbers, errors that name the call, and a kernel that counts our tasks."""

from __future__ import annotations

import fcntl
import os
import threading

import pytest

from tlsrt.errors import SandboxError
from tlsrt.sandbox import syscalls


def test_other_machines_are_refused() -> None:
    for machine, wide in (("riscv64", True), ("i686", True), ("x86_64", False), ("armv7l", False)):
        with pytest.raises(SandboxError, match="not supported"):
            syscalls.numbers_of(machine, wide=wide)


def test_numbers_of_both_machines_name_the_same_calls() -> None:
    first, second = (syscalls.numbers_of(machine) for machine in ("x86_64", "aarch64"))
    modern = {name for name, number in first.items() if number >= 424}  # one number on every machine since Linux 5.1
    assert all(first[name] == second.get(name, first[name]) for name in modern) and len(modern) >= 5
    assert first["pivot_root"] == 155 and second["pivot_root"] == 41


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("unshare", (1 << 40 | 1,)),
        ("setns", (-1, syscalls.CLONE_NEWPID)),
        ("mount", ("nowhere", "/does/not/exist", "tmpfs")),
        ("umount2", ("/does/not/exist",)),
        ("pivot_root", ("/does/not/exist", "/does/not/exist")),
        ("move_mount", (-1, "/does/not/exist")),
        ("prctl", (-1,)),
    ],
)
def test_failures_are_oserrors_that_name_the_call(name: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(OSError, match=name.removesuffix("2")) as caught:
        getattr(syscalls, name)(*arguments)
    assert caught.value.errno is not None and caught.value.errno > 0


def test_the_kernel_counts_tasks() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert not syscalls.is_single_task()
    finally:
        stop.set()
        thread.join()


def test_close_all_but_keeps_exactly_those() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            extra = fcntl.fcntl(writer, fcntl.F_DUPFD, max(writer, 200) + 1)
            syscalls.close_all_but(frozenset({writer, 0}))
            os.write(writer, b"%d" % sum(_is_open(number) for number in range(extra + 2)))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        assert stream.read() == "2"
    os.waitpid(pid, 0)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
