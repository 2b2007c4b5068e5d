"""In which epoll set the main task of a process waits, as the kernel tells it.

`/proc/PID/syscall` names the system call that a task is in, and its arguments: of epoll_wait(2) and its kin the first
one is the set. It names the same call for a task that is stopped or frozen in it, so the name of the kernel's function
in which it waits (`/proc/PID/wchan`) must be the one of epoll too. A kernel may hide either, and then nothing is seen.
"""

from __future__ import annotations

from tlsrt.sandbox.verify.kept_files import KeptFiles

_PLACES = (b"ep_poll", b"do_epoll_wait", b"do_epoll_pwait", b"__x64_sys_epoll_wait", b"__x64_sys_epoll_pwait",
           b"__arm64_sys_epoll_pwait", b"__do_sys_epoll_wait", b"__se_sys_epoll_wait")  # fmt: skip


def epoll_set_of(files: KeptFiles) -> int | None:
    """Return the descriptor of the set that the process behind this folder waits in; None where that is not seen."""
    try:
        call, place = files.read("syscall"), files.read("wchan")
    except OSError:
        return None
    return parse_epoll_wait(call, place)


def parse_epoll_wait(call: bytes, place: bytes) -> int | None:
    """Return the same of the two texts, proc_pid_syscall(5) and proc_pid_wchan(5). Pure; cannot fail."""
    if place.strip().partition(b".")[0] not in _PLACES:  # the compiler may add `.isra.0`
        return None
    words = call.split()
    try:
        return int(words[1], 16) if len(words) > 3 else None  # `running`, or `-1 SP PC`: blocked outside a call
    except ValueError:
        return None
