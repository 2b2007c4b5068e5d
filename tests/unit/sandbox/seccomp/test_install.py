"""The thin shell around seccomp(2): what is refused before and after the call. No filter is installed here."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.errors import SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.seccomp import install
from tlsrt.sandbox.seccomp.bpf import ALLOW, assemble

PROGRAM = assemble("x86_64", {}, ALLOW)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A kernel that answers as told: the result of seccomp(2), and the mode that it shows afterwards."""
    state = SimpleNamespace(result=0, errno=0, mode=2, no_new_privs=1, calls=0)

    def syscall(*arguments: Any) -> int:
        state.calls += 1
        ctypes.set_errno(state.errno)
        return int(state.result)

    def prctl(option: Any, *arguments: Any) -> int:
        return int(state.no_new_privs if option.value == 39 else state.mode)

    library = SimpleNamespace(syscall=syscall, prctl=prctl)
    monkeypatch.setattr(syscalls, "libc", lambda: library)
    monkeypatch.setattr(install, "TASKS", tmp_path / "absent")
    return state


def test_a_filter_goes_up(kernel: SimpleNamespace) -> None:
    install.install(PROGRAM)
    assert kernel.calls == 1


@pytest.mark.parametrize("program", [b"", b"1234567", PROGRAM + b"x", PROGRAM[:8] * 4097])
def test_what_cannot_be_a_filter_never_reaches_the_kernel(kernel: SimpleNamespace, program: bytes) -> None:
    with pytest.raises(SandboxError, match="cannot be"):
        install.install(program)
    assert kernel.calls == 0


def test_without_no_new_privs_nothing_is_tried(kernel: SimpleNamespace) -> None:
    kernel.no_new_privs = 0
    with pytest.raises(SandboxError, match="no_new_privs"):
        install.install(PROGRAM)
    assert kernel.calls == 0


@pytest.mark.parametrize(
    ("result", "number", "word"),
    [
        (4711, 0, "task 4711 cannot be synchronised"),
        (-1, errno.ESRCH, "cannot be synchronised"),
        (-1, errno.ENOSYS, "no seccomp filters"),
        (-1, errno.EINVAL, "refuses"),
        (-1, errno.EPERM, "refuses"),
        (1, 0, "task 1 cannot"),
    ],
)
def test_every_answer_but_0_is_an_error(kernel: SimpleNamespace, result: int, number: int, word: str) -> None:
    kernel.result, kernel.errno = result, number
    with pytest.raises(SandboxError, match=word) as caught:
        install.install(PROGRAM)
    assert caught.value.layer == "seccomp"


@pytest.mark.parametrize("mode", [0, 1, -1])
def test_a_success_that_left_no_filter_is_an_error(kernel: SimpleNamespace, mode: int) -> None:
    kernel.mode = mode
    with pytest.raises(SandboxError, match="not filtered"):
        install.install(PROGRAM)


@pytest.mark.parametrize(("modes", "good"), [((2, 2), True), ((2, 0), False), ((0, 2), False)])
def test_every_task_is_read_back(
    kernel: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modes: tuple[int, ...], good: bool
) -> None:
    for task, mode in enumerate(modes, start=7):
        (tmp_path / "task" / str(task)).mkdir(parents=True)
        (tmp_path / "task" / str(task) / "status").write_text(f"Name:\tx\nSeccomp:\t{mode}\nSeccomp_filters:\t1\n")
    (tmp_path / "task" / "9").mkdir()  # it has ended
    monkeypatch.setattr(install, "TASKS", tmp_path / "task")
    if good:
        install.install(PROGRAM)
    else:
        with pytest.raises(SandboxError, match=r"task [78] is not filtered"):
            install.install(PROGRAM)


def test_another_machine_is_refused(kernel: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "_numbers", lambda: syscalls.numbers_of("riscv64"))
    with pytest.raises(SandboxError, match="riscv64 is not supported"):
        install.install(PROGRAM)


def test_a_pinned_filter_lies_whole_at_its_address_and_cannot_be_freed() -> None:
    pinned = install.pin(PROGRAM)
    count = int.from_bytes(ctypes.string_at(pinned.address, 2), "little")
    code_at = int.from_bytes(ctypes.string_at(pinned.address + 8, 8), "little")
    assert count == len(PROGRAM) // 8 and ctypes.string_at(code_at, len(PROGRAM)) == PROGRAM
    if pinned.is_sealed:
        library = ctypes.CDLL(None, use_errno=True)
        address, length = ctypes.c_void_p(pinned.address), ctypes.c_size_t(4096)
        for name, arguments in (("mprotect", (address, length, 3)), ("munmap", (address, length))):
            assert getattr(library, name)(*arguments) == -1 and ctypes.get_errno() == errno.EPERM
    else:
        assert tuple(int(word) for word in os.uname().release.split(".")[:2]) < (6, 10)
