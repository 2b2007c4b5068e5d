"""Installing a filter for good, seccomp(2), and reading back that it is there.

A filter concerns the calling task, so it is always synchronised to all tasks of the process; where that cannot be, the
kernel answers with the number of the task that stands in the way (not with -1: read as success, nothing would be
filtered), or with ESRCH where it knows SECCOMP_FILTER_FLAG_TSYNC_ESRCH (Linux 5.7). Whatever is not 0 is an error.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import cache
from pathlib import Path
from typing import Any

from tlsrt.errors import SandboxError
from tlsrt.sandbox.bpf import MAX_INSTRUCTIONS
from tlsrt.sandbox.numbers import NUMBERS

LAYER = "seccomp"
TASKS = Path("/proc/self/task")
MODE_FILTER = 2
_SET_MODE_FILTER = 1
_TSYNC, _TSYNC_ESRCH = 1 << 0, 1 << 4
_PR_GET_SECCOMP, _PR_GET_NO_NEW_PRIVS = 21, 39
_INSTRUCTION_BYTES = 8


@cache
def _libc() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def install(program: bytes) -> None:
    """Put a program of `bpf.assemble` upon every task of this process; there is no way back.

    Raises SandboxError when the kernel refuses, a task cannot be synchronised, or the filter is not there afterwards.
    """
    count, rest = divmod(len(program), _INSTRUCTION_BYTES)
    if rest or not 0 < count <= MAX_INSTRUCTIONS:
        raise SandboxError(LAYER, f"a filter of {len(program)} bytes cannot be")
    if _libc().prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        raise SandboxError(LAYER, "no_new_privs is not set")
    number = NUMBERS.get(os.uname().machine, {}).get("seccomp")
    if number is None:
        raise SandboxError(LAYER, f"{os.uname().machine} is not supported: only 64-bit x86_64 and aarch64 are")
    code = ctypes.create_string_buffer(program, len(program))  # kept until the kernel has copied it
    header = struct.pack("<HxxxxxxQ", count, ctypes.addressof(code))
    result = _libc().syscall(
        ctypes.c_long(number), ctypes.c_ulong(_SET_MODE_FILTER), ctypes.c_ulong(_TSYNC | _TSYNC_ESRCH),
        ctypes.c_char_p(header),
    )  # fmt: skip
    if result != 0:
        raise SandboxError(LAYER, _reason(result, ctypes.get_errno()))
    check_installed()


def check_installed() -> None:
    """Read back that every task is filtered: from /proc where there is one, else by the word of this task.

    Raises SandboxError for a task that is not.
    """
    modes = task_modes(TASKS)
    if modes is None:
        modes = {os.getpid(): _libc().prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)}
    for task, mode in modes.items():
        if mode != MODE_FILTER:
            raise SandboxError(LAYER, f"task {task} is not filtered: its mode is {mode}")


def task_modes(tasks: Path) -> dict[int, int] | None:
    """Return the seccomp mode of each task of a process, from /proc/PID/task; None if that cannot be read."""
    try:
        names = os.listdir(tasks)
    except OSError:
        return None
    modes: dict[int, int] = {}
    for name in names:
        try:
            text = (tasks / name / "status").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue  # it has ended
        lines = [line.split() for line in text.splitlines() if line.startswith("Seccomp:")]
        modes[int(name)] = int(lines[0][1]) if lines else 0
    return modes


def _reason(result: int, number: int) -> str:
    if result > 0:
        return f"task {result} cannot be synchronised: it has a filter of its own"
    if number == errno.ESRCH:
        return "a task cannot be synchronised: it has a filter of its own"
    if number == errno.ENOSYS:
        return "this kernel has no seccomp filters, or something outside hides them: it needs CONFIG_SECCOMP_FILTER"
    return f"the kernel refuses the filter: {os.strerror(number)}"
