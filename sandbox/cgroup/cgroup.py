"""Control group of version 2, cgroups(7): kill, freeze, count and limit a process tree.

A group holds whatever was forked in it, in whichever session or process group it went into hiding; only who may write
`cgroup.procs` of another group gets out, and no loop sees a writable hierarchy. Everything here is a file: there is
no code for version 1.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlsrt.errors import SandboxError
from tlsrt.sandbox.cgroup.limit_usage import parse_count

LAYER = "cgroup"
CONTROLLERS = ("memory", "pids", "cpu")  # what limits are set by, where they are delegated to us
PROCS, KILL, FREEZE, EVENTS = "cgroup.procs", "cgroup.kill", "cgroup.freeze", "cgroup.events"
MEMORY_EVENTS, PIDS_EVENTS = "memory.events", "pids.events"
_VERSION_2 = "cgroup2"
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class GroupPath:
    """A group as a folder of this host, and as /proc/PID/cgroup names it."""

    folder: Path
    name: str  # "/", "/system.slice/tlsrt.service"

    def child(self, name: str) -> GroupPath:
        """Return the place of a group right below this one."""
        return GroupPath(self.folder / name, f"{self.name.rstrip('/')}/{name}")

    @property
    def parent(self) -> GroupPath:
        return GroupPath(self.folder.parent, self.name.rpartition("/")[0] or "/")


BACKGROUND_WEIGHT = 33  # a group weighs 100 as it is made


@dataclass(frozen=True, slots=True)
class Limits:
    """What a group may use at most; None leaves a kind alone."""

    memory: int | None = None  # bytes, swap apart, which is never used
    tasks: int | None = None
    weight: int | None = None  # of its share of the processors; None: that of every group


def parse_own_group(text: str) -> str:
    """Return the group of version 2 in a text of /proc/PID/cgroup. Raises ValueError if there is none."""
    for line in text.splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::").removesuffix(" (deleted)")
    raise ValueError("no group of version 2")


def parse_mounts(text: str) -> list[tuple[str, str]]:
    """Return (root group, mount point) of each hierarchy of version 2 in a text of mountinfo.

    See proc_pid_mountinfo(5); raises ValueError for a line that is not of that form.
    """
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        fields = line.split(" ")
        if fields[fields.index("-", 6) + 1] == _VERSION_2:
            root, point = (_ESCAPE.sub(lambda match: chr(int(match[1], 8)), field) for field in fields[3:5])
            found.append((root, point))
    return found


def parse_oom_kills(text: str) -> int:
    """Return the count of `oom_kill` in a text of memory.events. Raises ValueError if there is none."""
    for line in text.splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return int(count)
    raise ValueError("not a text of memory.events")


def locate(own: str, mounts: Sequence[tuple[str, str]]) -> GroupPath | None:
    """Return where the group `own` can be seen, or None. Of several mounts the last counts, as it covers the others."""
    for root, point in reversed(mounts):
        below = root.rstrip("/")
        if own == root or own.startswith(f"{below}/"):
            return GroupPath(Path(point, own.removeprefix(below).strip("/")), own)
    return None


def own_place(proc: Path = Path("/proc")) -> GroupPath:
    """Return the group of this process. Raises SandboxError when it can see no hierarchy of version 2."""
    try:
        own = parse_own_group((proc / "self" / "cgroup").read_text())
        place = locate(own, parse_mounts((proc / "self" / "mountinfo").read_text()))
    except (OSError, ValueError) as error:
        raise SandboxError(LAYER, "this host has no cgroups of version 2") from error
    if place is None or not os.path.isdir(place.folder):
        raise SandboxError(LAYER, f"no hierarchy of version 2 is mounted where this process could see its group {own}")
    return place


class Group:
    """One group, made here. Methods raise OSError when the kernel refuses."""

    def __init__(self, place: GroupPath, limits: Limits | None = None) -> None:
        self.place = place
        self._limits = limits or Limits()
        self.folder = -1  # a descriptor for clone3(2)
        self.controllers = frozenset[str]()  # those that hold the limits
        self._is_used_up = False
        self._counted = 0  # of the processes before
        self._make()

    def _make(self) -> None:
        os.mkdir(self.place.folder, 0o755)
        self.folder = os.open(self.place.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.controllers = self._limit(self._limits)
        self._is_used_up = False

    def kill(self) -> None:
        """Kill everything in it, frozen or not; who is in the middle of a fork dies with the child."""
        self._is_used_up = True
        self._write(KILL, "1")

    def freeze(self) -> None:
        """Stop everything in it, without a signal that could be seen or sent. `is_frozen` tells when all have."""
        self._is_used_up = True
        self._write(FREEZE, "1")

    def thaw(self) -> None:
        """Let it go on."""
        self._write(FREEZE, "0")

    def renew(self) -> None:
        """Make ready for the next process. The group must be empty.

        A group that was killed frozen would freeze the next process, and some kernels (6.13 and later) kill a process
        that clone3(2) makes in a group that was ever killed. So such a group is removed and made again.
        """
        if self._is_used_up:
            self.close()
            os.rmdir(self.place.folder)
            self._make()
            self._counted = 0
        else:
            self._counted += self.oom_kills

    @property
    def is_empty(self) -> bool:
        return not self._event("populated")

    @property
    def is_frozen(self) -> bool:
        return self._event("frozen")

    @property
    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed in it for want of memory since `renew`.

        0 without that controller; raises OSError and ValueError where the file is not what it should be.
        """
        try:
            return parse_oom_kills((self.place.folder / MEMORY_EVENTS).read_text()) - self._counted
        except FileNotFoundError:
            return 0

    @property
    def refused(self) -> tuple[int, int]:
        """Return how often a task and how often memory was refused, as far as controllers count that.

        Raises OSError and ValueError where a file is not what it should be.
        """
        counts: list[int] = []
        for name, key in ((PIDS_EVENTS, "max"), (MEMORY_EVENTS, "oom")):
            try:
                counts.append(parse_count((self.place.folder / name).read_text(), key))
            except FileNotFoundError:
                counts.append(0)
        return counts[0], counts[1]

    def limit(self, limits: Limits) -> None:
        """Set other limits for the processes in it, now and later."""
        self._limits = limits
        self.controllers = self._limit(limits)

    def _limit(self, limits: Limits) -> frozenset[str]:
        """Set limits and return the controllers that hold them. A controller that is not here holds none."""
        held: set[str] = set()
        if limits.memory is not None and self._write_if_there("memory.max", str(limits.memory)):
            held.add("memory")
            self._write_if_there("memory.oom.group", "1")  # half a loop is no loop
            self._write_if_there("memory.swap.max", "0")  # keys never reach a disk
        if limits.tasks is not None and self._write_if_there("pids.max", str(limits.tasks)):
            held.add("pids")
        if (self.place.folder / "cpu.weight").exists():  # groups that weigh the same have a share each
            held.add("cpu")
            if limits.weight is not None:
                self._write("cpu.weight", str(limits.weight))
        return frozenset(held)

    def close(self) -> None:
        """Give the descriptor back; the group stays."""
        if self.folder >= 0:
            os.close(self.folder)
            self.folder = -1

    def _write_if_there(self, name: str, text: str) -> bool:
        try:
            self._write(name, text)
        except FileNotFoundError:
            return False
        return True

    def _write(self, name: str, text: str) -> None:
        write(self.place.folder / name, text)

    def _event(self, name: str) -> bool:
        return f"{name} 1" in (self.place.folder / EVENTS).read_text().splitlines()


def write(path: Path, text: str) -> None:
    """Write one value into a file of a group, which must exist: no such file is ever made."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def remove(place: GroupPath, *, pause: Callable[[], None], patience: int = 200) -> bool:
    """Kill what is in a group and below, and remove it with all below. Return whether it is gone.

    `pause` waits a moment between `patience` looks whether the last process has ended.
    """
    if not place.folder.is_dir():
        return True
    try:
        write(place.folder / KILL, "1")
    except OSError:
        pass  # the look below tells
    for _ in range(patience):
        if _remove_below(place.folder):
            return True
        pause()
    return False


def _remove_below(folder: Path) -> bool:
    try:
        for name in sorted(os.listdir(folder)):
            if (folder / name).is_dir() and not _remove_below(folder / name):
                return False
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True
