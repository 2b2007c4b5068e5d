"""UNIX sockets of other programs, connected to as the process that asked for them.

Who calls connect(2) is who the other side sees (SO_PEERCRED, SO_PEERGROUPS), so the supervisor takes the effective uid,
gid and groups of the process for that moment; a component would be root on every bus otherwise. It takes no more than
these: by its real and saved uid it stays what it is, so no process of that uid may signal or trace it meanwhile
(kill(2), ptrace(2)). What the kernel changes along with the effective uid (or the one of setfsuid(2)), whether we are
dumpable and which signal the end of our parent sends, is put back. The process id that the other side sees is the
supervisor's.

The socket itself is opened first, folder by folder and without following links, and looked at where it lies; then
connected to by that descriptor. So nothing can be exchanged between the look and the call, and none but root, the owner
of the socket and its group may have exchanged it before.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager

from tlsrt.sandbox import syscalls

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_EX_SOFTWARE = 70


class UnfitSocketError(PermissionError):
    """What lies at the path may not be used; its text says why."""


def open_socket(path: str, trusted: Collection[int]) -> int:
    """Return a descriptor of a socket, O_PATH. Raises OSError, UnfitSocketError for what may not be used.

    `trusted` are the uids that may have put it there, besides its own.
    """
    *folders, name = path.strip("/").split("/")
    opened = [os.open("/", _FOLDER)]
    try:
        for folder in folders:
            opened.append(os.open(folder, _FOLDER, dir_fd=opened[-1]))
        found = os.open(name, _ENTRY, dir_fd=opened[-1])
        reason = unfit_reason([os.fstat(one) for one in opened], os.fstat(found), ["", *folders], trusted)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if reason:
        os.close(found)
        raise UnfitSocketError(errno.EACCES, reason)
    return found


def unfit_reason(
    folders: Sequence[os.stat_result], found: os.stat_result, names: Sequence[str], trusted: Collection[int]
) -> str:
    """Return why what was found at the end of these folders may not be used; "" if it may. Pure."""
    if not stat.S_ISSOCK(found.st_mode):
        return "it is no socket"
    entries = [*folders[1:], found]
    for index, (folder, entry) in enumerate(zip(folders, entries, strict=True)):
        name, mode = "/".join(names[: index + 1]) or "/", stat.S_IMODE(folder.st_mode)
        if folder.st_uid not in trusted and folder.st_uid != found.st_uid:
            return f"uid {folder.st_uid} could exchange it, to which {name} belongs"
        by_group = mode & stat.S_IWGRP and folder.st_gid not in (0, found.st_gid)
        if not (mode & stat.S_IWOTH or by_group):
            continue
        if not mode & stat.S_ISVTX or entry.st_uid not in trusted:
            return f"others could exchange it, as {name} has mode {mode:04o}"
    return ""


@contextmanager
def owning_as(uid: int | None) -> Generator[None, None, None]:
    """Have what is made in the block belong to `uid`; None changes nothing. setfsuid(2) decides that alone."""
    if uid is None:
        yield
        return
    with _standing_kept():
        own = syscalls.call("setfsuid", uid)
        try:
            yield
        finally:
            syscalls.call("setfsuid", own)


@contextmanager
def acting_as(uid: int | None) -> Generator[None, None, None]:
    """Have the effective uid and gid `uid`, and no other groups, in the block; None changes nothing.

    A supervisor that could not become itself again ends at once.
    """
    if uid is None:
        yield
        return
    groups, (own_uid, own_gid) = os.getgroups(), (os.geteuid(), os.getegid())
    with _standing_kept():
        try:
            os.setgroups([])
            os.setresgid(-1, uid, -1)
            os.setresuid(-1, uid, -1)
            yield
        finally:
            try:
                os.setresuid(-1, own_uid, -1)
                os.setresgid(-1, own_gid, -1)
                os.setgroups(groups)
            except OSError:
                os._exit(_EX_SOFTWARE)


@contextmanager
def _standing_kept() -> Generator[None, None, None]:
    """Put back what the kernel changes along with an effective or file system uid: see above."""
    dumpable, at_parents_end = syscalls.prctl(syscalls.PR_GET_DUMPABLE), syscalls.signal_with_parent()
    try:
        yield
    finally:
        try:
            if dumpable == 1:
                syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
            if at_parents_end:
                syscalls.die_with_parent(at_parents_end)
        except OSError:
            os._exit(_EX_SOFTWARE)
