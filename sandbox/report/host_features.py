"""What the kernel offers beside the layers themselves: versions, optional calls, switches. Nothing here is required.

Each answer is found by asking the kernel, not by its version: a container may hide what the kernel has.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tlsrt.errors import SandboxError
from tlsrt.sandbox.apply.landlock import landlock_abi
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.seccomp.notify import REPORTS
from tlsrt.sandbox.syscalls import call

_LANDLOCK = {
    1: "files", 2: "renames across folders", 3: "truncation", 4: "TCP ports", 5: "ioctl on devices",
    6: "abstract UNIX sockets and signals", 8: "all threads at once", 9: "path-named UNIX sockets",
}  # fmt: skip
# linux/seccomp.h, SECCOMP_RET_*: the answers that filters of ours give
_ACTIONS = {
    "kill_process": 0x80000000, "trap": 0x00030000, "errno": 0x00050000, "user_notif": 0x7FC00000,
    "trace": 0x7FF00000, "log": 0x7FFC0000, "allow": 0x7FFF0000,
}  # fmt: skip
# What it means for a loop that is sealed when Landlock does not know something, by the ABI that would.
_WITHOUT = {
    4: "nothing but network namespaces and egress rules keeps loops from TCP ports",
    6: "nothing but namespaces and uids keeps loops from abstract UNIX sockets and from signals to others",
    9: "as seccomp_reports is waived, a loop can connect to every such socket that it sees and file modes allow",
}
_BROKERED_ABI = 9  # what the supervisor's check of every connect covers too
_EXCHANGEABLE = "code of components could exchange the last filter at import"
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_TSYNC_ESRCH = 1 << 0 | 1 << 4
_SWITCHES = {
    "user.max_user_namespaces": "at least 1 is needed",
    "kernel.unprivileged_userns_clone": "0 forbids them to users (Debian)",
    "kernel.apparmor_restrict_unprivileged_userns": "1 takes their capabilities away (Ubuntu)",
}


def _call(name: str, *arguments: object) -> int:
    """Make a system call by name; return 0 or more, or the negative error number."""
    try:
        return call(name, *arguments)
    except OSError as error:
        return -(error.errno or errno.EINVAL)
    except SandboxError:  # a machine whose numbers are not known
        return -errno.ENOSYS


def landlock_words() -> str:
    """Return the version of Landlock and what it covers, or why there is none."""
    try:
        abi = landlock_abi()
    except SandboxError as error:
        return f"none: {error.reason}"
    covered = [words for since, words in _LANDLOCK.items() if since <= abi]
    lacking = [words for since, words in _LANDLOCK.items() if since > abi]
    return f"ABI {abi}: {', '.join(covered)}{'; not ' + ', '.join(lacking) if lacking else ''}"


def seccomp_words() -> str:
    """Return which filter answers the kernel knows, and whether it filters all threads at once."""
    known: list[str] = []
    for name, value in _ACTIONS.items():
        action = ctypes.c_uint32(value)
        if _call("seccomp", _GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0:
            known.append(name)
    if not known:
        return "none"
    lacking = [name for name in _ACTIONS if name not in known]
    # With flags that the kernel knows it looks for the filter, at an address where there is none.
    probe = _call("seccomp", _SET_MODE_FILTER, _TSYNC_ESRCH, None)
    threads = "TSYNC_ESRCH" if probe == -errno.EFAULT else "no TSYNC_ESRCH (Linux 5.7)"
    return f"{', '.join(known)}, {threads}{'; not ' + ', '.join(lacking) if lacking else ''}"


def mseal_words() -> str:
    """Return whether memory can be sealed, so that foreign code cannot exchange the last filter."""
    result = _call("mseal", 0, 0, 0)  # nothing, sealed
    if result == 0:
        return "yes: the last filter cannot be exchanged by code of components"
    return f"no ({os.strerror(-result)}, Linux 6.10): {_EXCHANGEABLE}"


def memfd_secret_words() -> str:
    """Return whether there is memory that not even root can read from outside."""
    result = _call("memfd_secret", os.O_CLOEXEC)
    if result >= 0:
        os.close(result)
        return "yes: master_key lies in a page that root cannot read from outside"
    return f"no ({os.strerror(-result)}): while it boots the authority has master_key in ordinary memory"


def user_namespace_words(proc: Path = Path("/proc")) -> str:
    """Return the switches of this host that concern user namespaces."""
    found: list[str] = []
    for name, words in _SWITCHES.items():
        try:
            value = (proc / "sys" / name.replace(".", "/", 1)).read_text().strip()
        except OSError:
            continue  # this kernel has no such switch
        found.append(f"{name} = {value} ({words})")
    return ", ".join(found) or "no switches"


def gaps(profile: Profile) -> list[str]:
    """Return a sentence for each gap of a profile's layers on this host, though they can be applied.

    A waived layer has no gaps. The filters of the profile are those that its process installs.
    """
    found: list[str] = []
    if not {"landlock", "landlock_sealed"} <= profile.waived:
        found += _landlock_gaps(is_brokered=REPORTS not in profile.waived)
    if {"seccomp", "seccomp_sealed"} & profile.waived:
        return found
    if not profile.policy.filters(watched=profile.is_watched, pid=1).seal.is_sealed:
        found.append(f"this host cannot seal memory (mseal, Linux 6.10): {_EXCHANGEABLE}")
    return found


def _landlock_gaps(*, is_brokered: bool) -> list[str]:
    try:
        abi = landlock_abi()
    except SandboxError:
        return []  # then the layer refuses the start
    return [
        f"Landlock of this host has ABI {abi}, and no {_LANDLOCK[since]} before ABI {since}: {meaning}"
        for since, meaning in _WITHOUT.items()
        if abi < since and not (since == _BROKERED_ABI and is_brokered)
    ]


_FEATURES: Mapping[str, Callable[[], str]] = {
    "landlock": landlock_words,
    "seccomp": seccomp_words,
    "mseal": mseal_words,
    "memfd_secret": memfd_secret_words,
    "user namespaces": user_namespace_words,
}


def features() -> dict[str, str]:
    """Return all of it by name, in the order to show. Each is asked in a child, as a filter outside may kill for it."""
    return {name: _asked(question) for name, question in _FEATURES.items()}


def _asked(question: Callable[[], str]) -> str:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, question().encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        words = stream.read().decode()
    os.waitpid(pid, 0)
    return words or "asking for it ends the process"
