"""The control groups of a life as the supervisor uses them, whether the host has any or not.

Nothing here refuses a start: what no group holds is held by the pid namespace and by rlimits, and `sentence` says
which is which.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tlsrt.errors import SandboxError
from tlsrt.sandbox.cgroup.cgroup import GroupPath, Limits, own_place
from tlsrt.sandbox.cgroup.orphans import Orphans
from tlsrt.sandbox.cgroup.tree import GroupTree, make_tree, tag_of
from tlsrt.sandbox.seccomp.reply_filter import AnsweringGroup, attach

ANSWERING = "-answering"  # no process can have this name
_KINDS = {"memory": "memory", "pids": "tasks", "cpu": "CPU share"}  # controller -> what it limits, in words


class ControlGroups:
    """Made before the lock is ours, claimed after it: only then do groups of an earlier life have no owner."""

    def __init__(self, state_dir: Path, waived: str | None) -> None:
        self._state_dir = state_dir
        self._reason = f"waived: {waived}" if waived is not None else "not made yet"
        self._is_waived = waived is not None
        self._tree: GroupTree | None = None
        self._orphans = Orphans()  # only where there is no tree
        self._answering: AnsweringGroup | None = None

    def claim(self, limits: Mapping[str, Limits]) -> None:
        """Make a group for each process, where the host gives any."""
        if self._is_waived:
            return
        try:
            self._tree = make_tree(own_place(), tag_of(self._state_dir), limits)
        except SandboxError as error:
            self._reason = error.reason

    def add(self, limits: Mapping[str, Limits]) -> None:
        """Make a group for each of these that has none yet. Raises SandboxError."""
        if self._tree is not None:
            self._tree.add(limits)

    def remove(self, name: str) -> None:
        """Remove the group of a process that has ended for good; what is left in it is killed."""
        if self._tree is not None:
            self._tree.discard(name)

    def limit(self, name: str, limits: Limits) -> str:
        """Set other limits for a process; return a sentence if that is not possible."""
        if self._tree is None:
            return ""
        try:
            self._tree.group(name).limit(limits)
        except OSError as error:
            return f"cannot set the limits of its control group: {error.strerror}"
        return ""

    @property
    def reason(self) -> str:
        """Return why there are no groups."""
        return self._reason

    def place(self, name: str) -> GroupPath | None:
        """Return the group of a process, None where there are none."""
        return self._tree.group(name).place if self._tree is not None else None

    def descriptor(self, name: str) -> int:
        """Return the descriptor of the group that a child starts in, -1 for none of its own."""
        return self._tree.group(name).folder if self._tree is not None else -1

    def answering(self) -> AnsweringGroup:
        """Return the group whose datagram sockets send answers only, see `reply_filter.py`.

        Raises OSError where the host has no such groups, or lets us attach nothing to them.
        """
        if self._tree is None:
            raise OSError(errno.ENOTSUP, f"there are no control groups ({self._reason})")
        if self._answering is None:
            try:
                self._tree.add({ANSWERING: Limits()})
            except SandboxError as error:
                raise OSError(errno.EIO, error.reason) from None
            try:
                self._answering = attach(self._tree.group(ANSWERING).folder)
            except OSError:
                self._tree.discard(ANSWERING)
                raise
        return self._answering

    def expect(self, name: str) -> None:
        """Expect the next process of that name."""
        self._orphans.forget(name)

    def attested(self, name: str, pid: int) -> None:
        """Remember how descendants of this process would be known, `pid` as numbered in /proc."""
        if self._tree is None:
            self._orphans.note(name, pid)

    def freeze(self, name: str) -> None:
        """Freeze a group until it is cleared; without groups the kill alone has to do."""
        if self._tree is not None:
            with suppress(OSError, KeyError):  # the group was removed, and the kill follows at once
                self._tree.group(name).freeze()

    def clear(self, name: str) -> bool:
        """Kill whatever is in a group; return whether nothing is, and the group is ready for the next process.

        Without groups, every process that shares a namespace with the dead one counts.
        """
        if self._tree is None:
            return self._orphans.clear(name)
        try:
            group = self._tree.group(name)
            if not group.is_empty:
                group.kill()
                return False
            group.renew()
        except KeyError:  # a reload that was refused had the name, too, and has removed the group, as it was empty
            return True
        except OSError as error:
            return error.errno != errno.EBUSY  # where the group was removed, the next spawn fails and says so
        return True

    def oom_kills(self, name: str) -> int:
        """Return how many processes of a group the kernel has killed for want of memory; 0 without a counter."""
        if self._tree is None:
            return 0
        try:
            return self._tree.group(name).oom_kills
        except (OSError, ValueError, KeyError):
            return 0

    def refused(self, name: str) -> tuple[int, int]:
        """Return how often a group has refused a task, and had no memory left; 0 without a counter."""
        if self._tree is None or not self._tree.controllers & {"memory", "pids"}:
            return 0, 0
        try:
            return self._tree.group(name).refused
        except (OSError, ValueError):
            return 0, 0

    def release(self) -> None:
        """Remove every group, and kill what is left in one."""
        tree, self._tree = self._tree, None
        if self._answering is not None:
            os.close(self._answering.groups)
            self._answering = None
        if tree is not None:
            try:
                tree.remove()
            except OSError:
                return  # the next start removes them

    def enforced(self) -> dict[str, str]:
        """Return what holds each kind of limit: "cgroup", another word, or "" for nothing."""
        controllers = self._tree.controllers if self._tree is not None else frozenset[str]()
        return {
            "kill": "pidfd" if self._tree is None else "cgroup",
            "freeze": "" if self._tree is None else "cgroup",
            "memory": "cgroup" if "memory" in controllers else "rlimit",
            "tasks": "cgroup" if "pids" in controllers else "rlimit",
            "cpu": "cgroup" if "cpu" in controllers else "",
        }

    def sentence(self) -> str:
        """Return one line for people: what is limited by what, and why not by more."""
        if self._tree is None:
            return f"memory and tasks by rlimits, CPU unlimited, no freeze; no cgroup ({self._reason})"
        held = [words for name, words in _KINDS.items() if name in self._tree.controllers]
        by_rlimits = [_KINDS[name] for name in ("memory", "pids") if name not in self._tree.controllers]
        parts = [f"{', '.join(['kill', 'freeze', *held])} by cgroup {self._tree.base.name}"]
        if by_rlimits:
            parts.append(f"{' and '.join(by_rlimits)} by rlimits")
        if "cpu" not in self._tree.controllers:
            parts.append("CPU unlimited")
        missing = f" ({self._tree.missing})" if self._tree.missing else ""
        return f"{', '.join(parts)}{missing}"
