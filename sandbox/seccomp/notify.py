"""Taking and answering the notifications of a filter's listener, seccomp_unotify(2).

A notification is a struct that the kernel fills: which task made which call with which registers. The call waits until
it is answered, its task is killed, or the listener is closed; then it fails with ENOSYS. A call is never told to go on
by itself (SECCOMP_USER_NOTIF_FLAG_CONTINUE): what its pointers point to may have changed since it was read.

The listener is made in the watched process. That says its number over a socket and goes on; the watcher takes a
duplicate, pidfd_getfd(2), and answers; the process closes its own before it seals itself. Until then foreign code may
hold it, and can do nothing with it: no filter of ours allows the ioctls that receive and answer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from functools import cache

from tlsrt.errors import SandboxError
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS
from tlsrt.sandbox.syscalls import call

_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif: id, pid, flags, then struct seccomp_data
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp: id, value, error, flags
_ID = struct.Struct("=Q")
# linux/seccomp.h: SECCOMP_IOW(R)(number, size)
_RECEIVE = 0xC0000000 | _NOTIFICATION.size << 16 | ord("!") << 8
_SEND = 0xC0000000 | _ANSWER.size << 16 | ord("!") << 8 | 1
_IS_VALID = 0x40000000 | _ID.size << 16 | ord("!") << 8 | 2
_ADDED = struct.Struct("=QIIII")  # struct seccomp_notif_addfd: id, flags, descriptor, its number there, its flags
_ADD = 0x40000000 | _ADDED.size << 16 | ord("!") << 8 | 3
_ADD_AS = 1  # SECCOMP_ADDFD_FLAG_SETFD, Linux 5.9
_NUMBER = struct.Struct("=I")
_TAKEN = b"taken"
REPORTS = "seccomp_reports"
_LINK = "anon_inode:seccomp notify"
_GONE = (errno.ENOENT, errno.EINPROGRESS)  # the task was killed, or its call interrupted


@dataclass(frozen=True, slots=True)
class Notification:
    """One call that waits. `task` as numbered in our pid namespace, the system call's name, its six registers."""

    id: int
    task: int
    call: str
    arguments: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.call}({', '.join(_shown(value) for value in self.arguments)})"


def offer_listener(reports: int, listener: int) -> int:
    """Say to the watcher which descriptor is the listener; return it. Raises OSError."""
    os.write(reports, _NUMBER.pack(listener))
    return listener


def close_taken_listener(reports: int | None, listener: int) -> None:
    """Wait until the watcher has taken the listener, and close it and the socket. Raises SandboxError if it was not."""
    if reports is None or os.read(reports, len(_TAKEN)) != _TAKEN:
        raise SandboxError(REPORTS, "the supervisor has not taken the listener")
    os.close(listener)
    os.close(reports)


def take_listener(reports: int, pidfd: int) -> int | None:
    """Take the listener that was offered over the socket, and say so. None if nothing was said yet, -1 if it is none.

    The duplicate is close-on-exec. Raises no error: whatever is wrong, the process has no watched filter.
    """
    try:
        said = os.read(reports, 16)
    except BlockingIOError:
        return None
    except OSError:
        return -1
    if len(said) != _NUMBER.size:
        return -1
    try:
        listener = take_descriptor(pidfd, *_NUMBER.unpack(said))
    except OSError:
        return -1
    try:
        if os.readlink(f"/proc/self/fd/{listener}") == _LINK:
            os.write(reports, _TAKEN)
            return listener
    except OSError:
        pass
    os.close(listener)
    return -1


def take_descriptor(pidfd: int, number: int) -> int:
    """pidfd_getfd(2), Linux 5.6: return a duplicate of another process's descriptor, close-on-exec. Raises OSError."""
    return call("pidfd_getfd", pidfd, number, 0)


def receive_notification(listener: int) -> Notification | None:
    """Return the next call that waits; None if its task has gone meanwhile. Call it when the listener is readable."""
    buffer = bytearray(_NOTIFICATION.size)  # the kernel wants zeros
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    number, task, _, call, _, _, *arguments = _NOTIFICATION.unpack(buffer)
    return Notification(number, task, _names().get(call, f"system call {call}"), tuple(arguments))


def still_waits(listener: int, notification: Notification) -> bool:
    """Tell whether the call still waits. If so, what was read of its task was read of the right one."""
    try:
        _ask(listener, _IS_VALID, _ID.pack(notification.id))
    except OSError:
        return False
    return True


def answer_notification(listener: int, notification: Notification, *, value: int = 0, error: int = 0) -> None:
    """End the call with a value, or with an errno. A task that has gone needs no answer."""
    try:
        _ask(listener, _SEND, _ANSWER.pack(notification.id, value, -error, 0))
    except OSError as failure:
        if failure.errno not in _GONE:
            raise


def answer_with_descriptor(listener: int, notification: Notification, descriptor: int) -> None:
    """End the call with a duplicate of a descriptor of ours, which it returns the number of; close-on-exec.

    The limit of the process counts: without room it gets EMFILE. A task that has gone gets nothing. Two steps, and not
    SECCOMP_ADDFD_FLAG_SEND: a signal between them would end the call with a 0 and no descriptor.
    """
    try:
        added = bytearray(_ADDED.pack(notification.id, 0, descriptor, 0, os.O_CLOEXEC))  # so the result is a number
        number = _ask(listener, _ADD, added)
    except OSError as failure:
        if failure.errno not in _GONE:
            answer_notification(listener, notification, error=failure.errno or errno.EMFILE)
        return
    answer_notification(listener, notification, value=number)


def replace_descriptor(listener: int, notification: Notification, descriptor: int, number: int) -> None:
    """Put a duplicate of a descriptor of ours, close-on-exec, in the place of one of the task. Raises OSError."""
    _ask(listener, _ADD, _ADDED.pack(notification.id, _ADD_AS, descriptor, number, os.O_CLOEXEC))


def _ask(listener: int, request: int, argument: bytes | bytearray) -> int:
    """ioctl(2), again when a signal came in between: nothing was done then. Raises OSError."""
    while True:
        try:
            return fcntl.ioctl(listener, request, argument)  # type: ignore[return-value]
        except InterruptedError:
            continue


@cache
def _names() -> dict[int, str]:
    return {number: name for name, number in NUMBERS[os.uname().machine].items()}


def _shown(value: int) -> str:
    return str(value) if value < 4096 else hex(value)
