"""Resource limits of another process: read, compare and tighten them, prlimit(2).

Reading goes through /proc/PID/limits, which every user may read. Setting needs the ids of the process (its real,
effective and saved ones, all of them) or CAP_SYS_RESOURCE; so where the ids differ, a short-lived child takes them on
and sets the limits. It is in our pid namespace, where no loop sees it.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Mapping
from functools import lru_cache

INFINITE = resource.RLIM_INFINITY
# First words of a line of /proc/PID/limits (fs/proc/base.c) -> name of setrlimit(2).
_NAMES = {
    "Max cpu time": "cpu",
    "Max file size": "fsize",
    "Max data size": "data",
    "Max stack size": "stack",
    "Max core file size": "core",
    "Max resident set": "rss",
    "Max processes": "nproc",
    "Max open files": "nofile",
    "Max locked memory": "memlock",
    "Max address space": "as",
    "Max file locks": "locks",
    "Max pending signals": "sigpending",
    "Max msgqueue size": "msgqueue",
    "Max nice priority": "nice",
    "Max realtime priority": "rtprio",
    "Max realtime timeout": "rttime",
}
_VALUES_AT = 26  # the column where the soft limit begins


def kind_of(name: str) -> int | None:
    """Return the number of a limit for setrlimit(2), None if this system has none of that name."""
    kind = getattr(resource, f"RLIMIT_{name.upper()}", None)
    return kind if isinstance(kind, int) else None


@lru_cache(maxsize=64)  # asked again with every heartbeat, and the texts hardly ever change
def parse_limits(text: str) -> Mapping[str, tuple[int, int]]:
    """Return name -> (soft, hard) of a proc_pid_limits(5) text, -1 for unlimited. Raises ValueError if malformed."""
    found: dict[str, tuple[int, int]] = {}
    for line in text.splitlines()[1:]:
        name = _NAMES.get(line[:_VALUES_AT].rstrip())
        if name is not None:
            soft, hard = line[_VALUES_AT:].split()[:2]
            found[name] = (_value(soft), _value(hard))
    return found


def _value(word: str) -> int:
    return INFINITE if word == "unlimited" else int(word)


def limit_differences(limits: Mapping[str, tuple[int, int]], wanted: Mapping[str, int]) -> list[str]:
    """Return a sentence for each limit that is above what is wanted. Below is fine, it only got tighter."""
    found: list[str] = []
    for name, most in wanted.items():
        if name not in limits:
            found.append(f"its limit {name} cannot be read")
        elif any(_is_above(value, most) for value in limits[name]):
            soft, hard = (_said(value) for value in limits[name])
            found.append(f"its limit {name} is {soft} (at most {hard}), not {_said(most)}")
    return found


def _is_above(value: int, most: int) -> bool:
    return most != INFINITE and (value == INFINITE or value > most)


def _said(value: int) -> str:
    return "unlimited" if value == INFINITE else str(value)


def tighten(pid: int, limits: Mapping[str, int], *, uid: int, gid: int) -> list[str]:
    """Lower soft and hard limits of a running process. Return a sentence for each that is not as wanted afterwards.

    `pid` counts in our own pid namespace, as for kill(2); `uid` and `gid` are the process's. A limit that is lower
    already stays as it is. A loop that uses more than a new limit lives on, but gets no more.
    """
    unknown = [f"there is no limit {name!r}" for name in limits if kind_of(name) is None]
    known = {name: value for name, value in limits.items() if kind_of(name) is not None}
    left = _set_all(pid, known)
    if left and (uid, gid) != (os.getuid(), os.getgid()):
        _as_its_user(pid, known, uid, gid)
        left = [sentence for name, value in known.items() if (sentence := _not_yet(pid, name, value))]
    return [*unknown, *left]


def _set_all(pid: int, limits: Mapping[str, int]) -> list[str]:
    found: list[str] = []
    for name, value in limits.items():
        try:
            _set(pid, name, value)
        except (OSError, ValueError) as error:
            found.append(f"cannot lower its limit {name}: {getattr(error, 'strerror', None) or error}")
    return found


def _set(pid: int, name: str, value: int) -> None:
    kind = kind_of(name)
    if kind is None:
        raise ValueError(f"there is no limit {name!r}")
    soft, hard = (value if _is_above(present, value) else present for present in resource.prlimit(pid, kind))
    resource.prlimit(pid, kind, (soft, hard))


def _not_yet(pid: int, name: str, value: int) -> str:
    """Return a sentence if a limit is not as wanted. Read from /proc, as prlimit(2) would need the process's ids."""
    host = _host_pid(pid)
    try:
        with open(f"/proc/{host}/limits", encoding="ascii") as file:
            found = limit_differences(parse_limits(file.read()), {name: value})
    except (OSError, ValueError):
        return f"cannot lower its limit {name}: process {pid} has ended"
    return found[0] if found else ""


def _host_pid(pid: int) -> int:
    """Return the pid as the mounted /proc counts, by fdinfo of a pidfd. That /proc may be the host's."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return 0
    try:
        with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Pid:")), 0)
    finally:
        os.close(pidfd)


def _as_its_user(pid: int, limits: Mapping[str, int], uid: int, gid: int) -> None:
    """Let a child with the ids of the process set its limits; how far it got is read afterwards."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                _set_all(pid, limits)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
