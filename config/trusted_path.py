"""Whether another user could exchange what lies at a path: a configuration, a key, the folder of a socket.

Each folder on the way, and each link, must belong to root or to one who is trusted, and be writable by no other; a
folder with the sticky bit, as /tmp, is passed, since only owners replace what is in it. Access lists are not looked at.

In a user namespace that does not have all ids, those that it lacks are seen as the overflow uid (user_namespaces(7)),
root's too. There that uid is taken for root: the command that made the namespace has looked with the real ones.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Collection
from pathlib import Path

from tlsrt.errors import ConfigError

_LINKS_MAX = 40  # as the kernel, path_resolution(7)
_OVERFLOW = Path("/proc/sys/kernel/overflowuid")
_MAP = Path("/proc/self/uid_map")
_OVERFLOW_UID = 65534  # what the kernel takes unless it is told otherwise
_ALL = 1 << 31


def foreign_root(uid_map: Path = _MAP, overflow: Path = _OVERFLOW) -> frozenset[int]:
    """Return the uid as which root outside our user namespace is seen, nothing where root is uid 0."""
    try:
        ranges = [tuple(map(int, line.split())) for line in uid_map.read_text().splitlines()]
    except (OSError, ValueError):
        return frozenset()
    try:
        uid = int(overflow.read_text())
    except (OSError, ValueError):
        uid = _OVERFLOW_UID  # a /proc of pids only, as ProcSubset=pid of systemd.exec(5) gives one
    if sum(length for _, _, length in ranges) >= _ALL or any(
        first <= uid < first + count for first, _, count in ranges
    ):
        return frozenset()
    return frozenset({uid})


def trusted_uids(*more: int) -> frozenset[int]:
    """Return root, ourselves, and more uids."""
    return frozenset({0, os.geteuid(), *more}) | foreign_root()


def host_uids(configuration: Path) -> frozenset[int]:
    """Return who is trusted with a host: root, ourselves, and the owner of its configuration, if it exists."""
    try:
        return trusted_uids(os.stat(configuration).st_uid)
    except OSError:
        return trusted_uids()


def check_trusted(path: Path, what: str, uids: Collection[int]) -> None:
    """Refuse a path that any but `uids` could exchange. What is missing is passed. Raises ConfigError."""
    waiting = deque(Path(os.path.abspath(path)).parts[1:])
    here, links = "/", 0
    _check("/", os.lstat("/"), path, what, uids)
    while waiting:
        part = waiting.popleft()
        if part == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, part)
        try:
            status = os.lstat(there)
        except FileNotFoundError:
            return
        except OSError as error:
            where = "" if there == os.path.abspath(path) else f"{there}: "
            raise ConfigError(f"cannot check {what} {path}: {where}{error.strerror}") from None
        _check(there, status, path, what, uids)
        if not stat.S_ISLNK(status.st_mode):
            here = there
            continue
        links += 1
        if links > _LINKS_MAX:
            raise ConfigError(f"cannot check {what} {path}: too many symbolic links")
        target = Path(os.readlink(there))
        waiting.extendleft(reversed([part for part in target.parts if part not in ("/", ".")]))
        here = "/" if target.is_absolute() else here


def _check(there: str, status: os.stat_result, path: Path, what: str, uids: Collection[int]) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in uids:
        raise ConfigError(
            f"{what} {path} could be exchanged by another user: {there} belongs to uid {status.st_uid}, and not to "
            f"{names_of(uids)}: run this as that user, or chown it"
        )
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and mode & stat.S_ISVTX):
        return
    if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not _is_own_group(status.st_gid)):
        raise ConfigError(
            f"{what} {path} could be exchanged by another user: {there} has mode {mode:04o}: run `chmod go-w {there}`"
        )


def _is_own_group(gid: int) -> bool:
    """Tell whether a group is root's, or the one of a user's own that has the user's number."""
    return gid in (0, os.geteuid()) or (os.geteuid() != 0 and gid == os.getegid())


def names_of(uids: Collection[int]) -> str:
    """Return uids as a message names them."""
    others = sorted(uid for uid in uids if uid not in (0, *foreign_root()))
    return " or ".join(["root", *(f"uid {uid}" for uid in others)])
