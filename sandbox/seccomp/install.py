"""Installing a filter for good, seccomp(2), and reading back that it is there.

A filter concerns the calling task, so it is always synchronised to all tasks of the process; where that cannot be, the
kernel answers with the number of the task that stands in the way (not with -1: read as success, nothing would be
filtered), or with ESRCH where it knows SECCOMP_FILTER_FLAG_TSYNC_ESRCH (Linux 5.7). Whatever is not 0 is an error.

The last filter is made before foreign code is imported, but installed after: that code could install one of its own,
which answers for the last one as if it had been installed, and the number of filters would be right. So the last one is
put into memory that nothing can change any more, mseal(2) of Linux 6.10, and the first filter allows no other than the
one at that address. Then the number of filters, read from outside, proves that both are ours. Without mseal(2) the
memory is read-only, which foreign code could undo.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tlsrt.errors import SandboxError
from tlsrt.sandbox.seccomp.bpf import MAX_INSTRUCTIONS, USER_NOTIF
from tlsrt.sandbox.seccomp.notify import REPORTS
from tlsrt.sandbox.syscalls import call, libc, prctl

LAYER = "seccomp"
TASKS = Path("/proc/self/task")
MODE_FILTER = 2
_SET_MODE_FILTER = 1
_GET_ACTION_AVAILABLE = 2
_TSYNC, _NEW_LISTENER, _TSYNC_ESRCH = 1 << 0, 1 << 3, 1 << 4
_PR_GET_SECCOMP, _PR_GET_NO_NEW_PRIVS = 21, 39
_INSTRUCTION_BYTES = 8
_HEADER = struct.Struct("<HxxxxxxQ")
_MAP_FAILED = (1 << 64) - 1


@cache
def _mmap() -> Any:
    function = libc().mmap
    function.restype = ctypes.c_void_p
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    return function


def install(program: bytes) -> None:
    """Put a program of `bpf.assemble` upon every task of this process; there is no way back.

    Raises SandboxError when the kernel refuses, a task cannot be synchronised, or the filter is not there afterwards.
    """
    with _placed(program) as address:
        install_at(address)


def install_watched(program: bytes) -> int:
    """Do the same, and return the descriptor (close-on-exec) at which notifications arrive.

    Needs SECCOMP_FILTER_FLAG_NEW_LISTENER together with TSYNC_ESRCH (Linux 5.7). Raises as `install` does.
    """
    with _placed(program) as address:
        return _install(address, _NEW_LISTENER)


def check_notifications() -> None:
    """Raise SandboxError when this kernel cannot notify of calls. SECCOMP_RET_USER_NOTIF is of Linux 5.0."""
    action = ctypes.c_uint32(USER_NOTIF)
    try:
        call("seccomp", _GET_ACTION_AVAILABLE, 0, ctypes.byref(action))
    except OSError as error:
        raise SandboxError(REPORTS, f"this kernel does not notify of system calls: {_reason(error)}") from None


@contextmanager
def _placed(program: bytes) -> Generator[int, None, None]:
    """Give the address of a struct sock_fprog. It lives as long as the block, until the kernel has copied it."""
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(_header(program, ctypes.addressof(code)))
    yield ctypes.addressof(header)


@dataclass(frozen=True, slots=True)
class Pinned:
    """A filter in memory that stays as it is. The address of its struct sock_fprog, and whether mseal(2) holds it.

    A forked child has it at the same address, held as firmly.
    """

    address: int
    is_sealed: bool


def pin(program: bytes) -> Pinned:
    """Put a filter into memory of its own for `install_at`, read-only and if possible sealed. It is never freed.

    Raises SandboxError when the kernel gives no memory.
    """
    length = -(-(_HEADER.size + len(program)) // mmap.PAGESIZE) * mmap.PAGESIZE
    anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = _mmap()(None, length, mmap.PROT_READ | mmap.PROT_WRITE, anonymous, -1, 0)
    if address in (None, _MAP_FAILED):
        raise SandboxError(LAYER, "there is no memory for a filter")
    content = _header(program, address + _HEADER.size) + program
    ctypes.memmove(address, content, len(content))
    if libc().mprotect(ctypes.c_void_p(address), ctypes.c_size_t(length), mmap.PROT_READ) != 0:
        raise SandboxError(LAYER, f"cannot protect the memory of a filter: {os.strerror(ctypes.get_errno())}")
    try:
        call("mseal", address, length, 0)
    except OSError:
        return Pinned(address, is_sealed=False)
    return Pinned(address, is_sealed=True)


def install_at(address: int) -> None:
    """Put the filter whose struct sock_fprog is at this address upon every task. Raises as `install` does."""
    _install(address, 0)


def _install(address: int, flags: int) -> int:
    if _asked(_PR_GET_NO_NEW_PRIVS) != 1:
        raise SandboxError(LAYER, "no_new_privs is not set")
    try:
        result = call("seccomp", _SET_MODE_FILTER, _TSYNC | _TSYNC_ESRCH | flags, address)
    except OSError as error:
        raise SandboxError(LAYER, _reason(error)) from None
    if result and not flags:  # with a listener the number is its descriptor
        raise SandboxError(LAYER, f"task {result} cannot be synchronised: it has a filter of its own")
    check_installed()
    return result


def _header(program: bytes, address: int) -> bytes:
    """Return the struct sock_fprog of a program at an address."""
    count, rest = divmod(len(program), _INSTRUCTION_BYTES)
    if rest or not 0 < count <= MAX_INSTRUCTIONS:
        raise SandboxError(LAYER, f"a filter of {len(program)} bytes cannot be")
    return _HEADER.pack(count, address)


def check_installed() -> None:
    """Read back that every task is filtered, from /proc. Where there is none, by the word of this task.

    Raises SandboxError for a task that is not.
    """
    modes = task_modes(TASKS)
    if modes is None:
        modes = {os.getpid(): _asked(_PR_GET_SECCOMP)}
    for task, mode in modes.items():
        if mode != MODE_FILTER:
            raise SandboxError(LAYER, f"task {task} is not filtered: its mode is {mode}")


def _asked(option: int) -> int:
    try:
        return prctl(option)
    except OSError:
        return -1


def task_modes(tasks: Path) -> dict[int, int] | None:
    """Return the seccomp mode of each task of a process, from /proc/PID/task. None if that cannot be read."""
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


def _reason(error: OSError) -> str:
    number = error.errno or 0
    if number == errno.EBUSY:
        return "something around this process has taken the one listener that a process can have"
    if number == errno.ESRCH:
        return "a task cannot be synchronised: it has a filter of its own"
    if number == errno.ENOSYS:
        return "this kernel has no seccomp filters, or something outside hides them: it needs CONFIG_SECCOMP_FILTER"
    return f"the kernel refuses the filter: {os.strerror(number)}"
