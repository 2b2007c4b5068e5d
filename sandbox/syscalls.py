"""System calls that Python does not have, each a few lines with its man page named.

Every function raises OSError with the call's name; an unknown machine is a SandboxError. Importing this file costs
nothing but ctypes itself: libc is looked up at the first call, so that the launcher starts fast.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from tlsrt.errors import SandboxError
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

# clone(2), unshare(2), setns(2)
CLONE_VM = 0x00000100
CLONE_SIGHAND = 0x00000800
CLONE_PARENT = 0x00008000
CLONE_THREAD = 0x00010000
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

CLONE_INTO_CGROUP = 0x200000000
CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x00200000, 0x01000000
_CLONE_ARGUMENTS = struct.Struct("=11Q")  # struct clone_args up to `cgroup`, Linux 5.7

# mount(2), umount2(2), mount_setattr(2), open_tree(2), move_mount(2)
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 4

# prctl(2), capabilities(7)
PR_SET_PDEATHSIG = 1
PR_GET_PDEATHSIG = 2
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_GET_TID_ADDRESS = 40
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522

_LAST_DESCRIPTOR = 0xFFFFFFFF


def numbers_of(machine: str, *, wide: bool = True) -> Mapping[str, int]:
    """Return the system call numbers of a machine (uname -m). `wide` says that this is a 64-bit process.

    Raises SandboxError for any other machine: a guessed number would be another call.
    """
    if machine not in NUMBERS or not wide:
        raise SandboxError("machine", f"{machine} is not supported: only 64-bit x86_64 and aarch64 are")
    return NUMBERS[machine]


@cache
def _numbers() -> Mapping[str, int]:
    return numbers_of(os.uname().machine, wide=sys.maxsize > 2**32)


@cache
def libc() -> Any:
    """Return the C library, whose errors `ctypes.get_errno` tells."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def is_in_memory(descriptor: int) -> bool:
    """Tell whether a file lies in a tmpfs or ramfs. Raises OSError."""
    return _file_system(descriptor) in (0x01021994, 0x858458F6)


def is_in_overlay(descriptor: int) -> bool:
    """Tell whether a file lies in an overlayfs, as the root of a container does. Raises OSError."""
    return _file_system(descriptor) == 0x794C7630


def _file_system(descriptor: int) -> int:
    """Return the number of its kind. fstatfs(2)."""
    buffer = ctypes.create_string_buffer(256)
    if libc().fstatfs(ctypes.c_int(descriptor), buffer):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int.from_bytes(buffer.raw[:8], "little")


@cache
def _libc_with_lock() -> Any:
    library = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock over a fork, as os.fork does
    library.syscall.restype = ctypes.c_long
    return library


def _checked(result: int, name: str) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def call(name: str, *arguments: object) -> int:
    """Make a system call by name, syscall(2). Integers are full registers, bytes pointers, ctypes objects themselves.

    Raises OSError; ENOSYS also for a call that this machine does not have.
    """
    number = _numbers().get(name)
    if number is None:
        raise OSError(errno.ENOSYS, f"{name}: {os.strerror(errno.ENOSYS)}")
    return _checked(libc().syscall(ctypes.c_long(number), *map(_register, arguments)), name)


def _register(value: object) -> object:
    if value is None:
        return ctypes.c_long(0)
    if isinstance(value, int):
        return ctypes.c_void_p(value) if value else ctypes.c_long(0)  # a plain int would travel as 32 bits
    return ctypes.c_char_p(value) if isinstance(value, bytes) else value


def unshare(flags: int) -> None:
    """unshare(2): leave the namespaces named by CLONE_NEW* flags."""
    _checked(libc().unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """setns(2): join the namespace behind a descriptor of /proc/PID/ns."""
    _checked(libc().setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns")


def fork(group: int = -1, *, as_sibling: bool = False) -> int:
    """fork(2) by clone3(2), Linux 5.7: into the control group behind a descriptor, and as a child of our own parent.

    Moving a process afterwards costs 5 to 30 ms, as the kernel waits for every processor; this costs 0.2 ms. The C
    library's fork is not asked, so this is for a process of one task only: no lock of the library is held by another,
    and nothing that we load registers with pthread_atfork(3). A container may hide clone3 or refuse the group: a
    sibling is then made by clone(2), without its group. Raises OSError; then nothing was forked.
    """
    address = _tid_address()
    flags = (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID) if address else 0
    flags |= CLONE_PARENT if as_sibling else 0
    pid, code = _forked(*_clone3(flags, address, group, 0 if as_sibling else signal.SIGCHLD))
    if pid < 0 and as_sibling:
        # The child's address is the fourth or the fifth, as the machine has it; the other one is not read.
        words = (flags | signal.SIGCHLD, 0, 0, address, address)
        pid, code = _forked(ctypes.c_long(_numbers()["clone"]), *map(ctypes.c_ulong, words))
    if pid < 0:
        raise OSError(code, f"clone3: {os.strerror(code)}")
    return pid


def _clone3(flags: int, address: int, group: int, end_signal: int) -> tuple[object, ...]:
    flags, group = (flags | CLONE_INTO_CGROUP, group) if group >= 0 else (flags, 0)
    packed = _CLONE_ARGUMENTS.pack(flags, 0, address, 0, end_signal, 0, 0, 0, 0, 0, group)
    arguments = ctypes.create_string_buffer(packed, len(packed))
    return ctypes.c_long(_numbers()["clone3"]), arguments, ctypes.c_size_t(len(packed))


def _forked(*registers: object) -> tuple[int, int]:
    """Return what a call that forks returns, and the number of its error."""
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _libc_with_lock().syscall(*registers)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, 0
    code = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    return pid, code


def _tid_address() -> int:
    """Return where the C library keeps the number of this task, so that the kernel corrects it. 0 if unknown."""
    address = ctypes.c_ulong(0)
    try:
        prctl(PR_GET_TID_ADDRESS, ctypes.addressof(address))
    except OSError:
        return 0
    return address.value


def is_single_task(status: int = -1) -> bool:
    """Say whether this process is one task that shares its memory with no other, by the kernel.

    unshare(2) of CLONE_VM, CLONE_SIGHAND and CLONE_THREAD has no effect but EINVAL when that is not so. It needs no
    /proc and no descriptor, and code in this process cannot fake the answer. Where something outside forbids unshare,
    /proc/self/status is read instead: through the descriptor `status`, or opened here. Raises OSError without either.
    """
    try:
        unshare(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise
        return _read_threads(status) == 1
    return True


def task_status() -> int:
    """Return a descriptor for `is_single_task` if it will need one when /proc is out of reach; else -1."""
    try:
        unshare(0)
    except OSError:
        return os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    return -1


def _read_threads(status: int) -> int:
    descriptor = status if status >= 0 else os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.pread(descriptor, 8192, 0).decode("ascii", "replace")
    finally:
        if status < 0:
            os.close(descriptor)
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Threads:")), 0)


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """mount(2)."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    result = libc().mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])
    _checked(result, f"mount {target}")


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _checked(libc().umount2(os.fsencode(target), ctypes.c_int(flags)), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    call("pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def open_tree(path: str, *, recursive: bool) -> int:
    """open_tree(2) with OPEN_TREE_CLONE: a detached copy of a mount. It is seen nowhere until it is attached.

    In a user namespace it must be recursive: the kernel refuses to uncover what a mount of the parent covers.
    """
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return call("open_tree", AT_FDCWD, os.fsencode(path), flags)


def move_mount(descriptor: int, target: str) -> None:
    """move_mount(2): attach a detached mount at `target`."""
    call("move_mount", descriptor, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)


def mount_setattr(descriptor: int, attributes: int, *, recursive: bool) -> None:
    """mount_setattr(2), Linux 5.12: add MOUNT_ATTR_* to a mount, if recursive to all below.

    It only adds, so it never trips over flags that a parent user namespace has locked, as a remount would.
    """
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    change = struct.pack("=QQQQ", attributes, 0, 0, 0)
    call("mount_setattr", descriptor, b"", flags, change, len(change))


RENAME_EXCHANGE = 2


def exchange(one: str, other: str) -> None:
    """renameat2(2) with RENAME_EXCHANGE: two paths of one file system change their places at once."""
    call("renameat2", AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)


RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x01, 0x02, 0x04, 0x08


def openat2(folder: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2), Linux 5.6: open with RESOLVE_* in force for each step of the path, so that no race gets round."""
    how = struct.pack("=QQQ", flags, 0, resolve)
    return call("openat2", folder, os.fsencode(path), how, len(how))


def inotify_init() -> int:
    """inotify_init1(2): a descriptor that does not block and is closed by execve."""
    return _checked(libc().inotify_init1(ctypes.c_int(os.O_NONBLOCK | os.O_CLOEXEC)), "inotify_init1")


def inotify_add_watch(descriptor: int, path: str, mask: int) -> int:
    """inotify_add_watch(2), for what `path` leads to now, in whatever mount namespace. Return the watch."""
    result = libc().inotify_add_watch(ctypes.c_int(descriptor), os.fsencode(path), ctypes.c_uint32(mask))
    return _checked(result, f"inotify_add_watch {path}")


def prctl(option: int, *arguments: int) -> int:
    """prctl(2); missing arguments are 0."""
    registers = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(libc().prctl(ctypes.c_int(option), *registers), f"prctl {option}")


def connect(descriptor: int, address: bytes) -> int:
    """connect(2) with the address as it is in memory; return 0 or an errno."""
    result = libc().connect(ctypes.c_int(descriptor), address, ctypes.c_uint32(len(address)))
    return 0 if result == 0 else ctypes.get_errno()


def name_thread(name: bytes) -> None:
    """prctl(2) PR_SET_NAME: name the calling thread, the only one that it can name. The kernel keeps 15 bytes."""
    kept = ctypes.create_string_buffer(name)
    prctl(PR_SET_NAME, ctypes.addressof(kept))


def capset(kept: int, inheritable: int = 0) -> None:
    """capset(2): keep only these in the effective and permitted sets of this task, and those in the inheritable one."""
    sets = [one >> shift & 0xFFFFFFFF for shift in (0, 32) for one in (kept, kept, inheritable)]
    call("capset", struct.pack("=Ii", CAPABILITY_VERSION_3, 0), struct.pack("=6I", *sets))


def close_all_but(keep: frozenset[int]) -> None:
    """close_range(2), Linux 5.9: close every descriptor that is not in `keep`."""
    first = 0
    for descriptor in sorted(keep):
        if descriptor > first:
            call("close_range", first, descriptor - 1, 0)
        first = descriptor + 1
    call("close_range", first, _LAST_DESCRIPTOR, 0)


def die_with_parent(signal_number: int) -> None:
    """prctl(2) PR_SET_PDEATHSIG: get this signal when the *thread* that forked us ends. A uid change clears it."""
    prctl(PR_SET_PDEATHSIG, signal_number)


def signal_with_parent() -> int:
    """prctl(2) PR_GET_PDEATHSIG: return the signal that `die_with_parent` has set, 0 for none."""
    number = ctypes.c_int(0)
    prctl(PR_GET_PDEATHSIG, ctypes.addressof(number))
    return number.value
