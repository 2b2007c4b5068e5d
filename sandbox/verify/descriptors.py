"""Open descriptors of a process, by /proc/PID/fd: kinds that no loop needs, host folders. proc_pid_fd(5).

A process that holds an io_uring, a seccomp listener, a namespace or a folder from before its root was built has a way
around what confines it, so what is not known to be harmless is a difference.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable

_HARMLESS = ("socket:", "pipe:", "/memfd:", "/dev/null")
_NAMED = ("/", *_HARMLESS)
_ANONYMOUS = "anon_inode:"
_INFO_BYTES = 4096  # of a folder: position, flags and mount come first, a hundred bytes; then what watches it
_HARMLESS_ANONYMOUS = ("[eventpoll]", "[eventfd]", "[timerfd]", "[signalfd]", "inotify")


def forbidden_kind(target: str) -> str:
    """Return the words for what a link of /proc/PID/fd names, if no loop may have it. Else nothing. Pure."""
    if target.startswith(_ANONYMOUS):
        kind = target.removeprefix(_ANONYMOUS)
        return "" if kind in _HARMLESS_ANONYMOUS else kind
    if target.startswith(_NAMED):
        return ""
    return target  # a namespace, a pidfd, or what a kernel to come invents


def parse_mount_identity(text: str) -> int:
    """Return the number of the mount in a text of /proc/PID/fdinfo. Raises ValueError if there is none."""
    for line in text.splitlines():
        if line.startswith("mnt_id:"):
            return int(line.removeprefix("mnt_id:"))
    raise ValueError("no mnt_id")


def descriptor_differences(names: Iterable[str], folder: str, links: int, mounts: Container[int] | None) -> list[str]:
    """Look at what the process behind `folder`, its /proc/PID, holds open. Returns a sentence for each offence.

    `names` are those in its /proc/PID/fd, and `links` is a descriptor of that. `mounts` are the numbers of its own
    mounts; None where it shares ours, and every folder is its own. Raises OSError for a process that cannot be looked
    at.
    """
    found: list[str] = []
    for name in names:
        try:
            target = os.readlink(name, dir_fd=links)
            if target.startswith(_HARMLESS):
                continue
            if kind := forbidden_kind(target):
                found.append(f"descriptor {name} is {kind}")
            elif mounts is not None and _is_foreign_folder(folder, name, links, target, mounts):
                found.append(f"descriptor {name} is a folder outside its root")
        except (FileNotFoundError, ProcessLookupError):
            continue  # closed meanwhile
    return found


def _is_foreign_folder(folder: str, name: str, links: int, target: str, mounts: Container[int]) -> bool:
    if not target.startswith("/") or not stat.S_ISDIR(os.stat(name, dir_fd=links).st_mode):
        return False
    file = os.open(f"{folder}/fdinfo/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return parse_mount_identity(os.read(file, _INFO_BYTES).decode("ascii", "replace")) not in mounts
    finally:
        os.close(file)
