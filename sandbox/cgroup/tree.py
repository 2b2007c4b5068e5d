"""Control groups of one start: one below the supervisor's, and in it one for each process.

    the supervisor's own group (or its parent, if it is called `supervisor`, see delegated.py)
     └─ tlsrt-TAG            TAG belongs to the state folder; a supervisor holds a lock on this folder until its end
         ├─ authority
         └─ primary, ...

Groups are used for kill, freeze and the proof that no process is left wherever they can be had. Limits are set by the
controllers that the host has delegated to that place; what no controller holds, rlimits hold. A controller can only
be handed down by a group that holds no process itself (cgroups(7), the root of the hierarchy apart).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.errors import SandboxError
from tlsrt.sandbox.cgroup.cgroup import CONTROLLERS, KILL, LAYER, PROCS, Group, GroupPath, Limits, remove, write
from tlsrt.sandbox.cgroup.delegated import SUBGROUP

_PREFIX = "tlsrt-"
_NAME = re.compile(r"tlsrt-[0-9a-f]{12}")
_MARK = "user.tlsrt.supervisor"  # an extended attribute of a group that a supervisor has made, xattr(7)
_HANDED_DOWN = "cgroup.subtree_control"
_TYPE = "cgroup.type"
_LOCKED_FILE = "cgroup.max.depth"
_PAUSE_S = 0.01


def _pause() -> None:
    time.sleep(_PAUSE_S)


@dataclass(slots=True)
class GroupTree:
    """The groups of one start, and what they limit."""

    base: GroupPath
    lock: int = -1  # holds the base; who gets it knows that no supervisor uses these groups any more
    groups: dict[str, Group] = field(default_factory=dict[str, Group])
    controllers: frozenset[str] = frozenset()
    missing: str = ""  # why some controllers are not used

    def group(self, name: str) -> Group:
        return self.groups[name]

    def add(self, limits: Mapping[str, Limits]) -> None:
        """Make groups for those that have none yet. Raises SandboxError."""
        for name, wanted in limits.items():
            if name not in self.groups:
                place = self.base.child(name)
                try:
                    self.groups[name] = Group(place, wanted)
                except OSError as error:
                    raise SandboxError(LAYER, f"cannot make the group {place.name}: {error.strerror}") from error

    def discard(self, name: str) -> None:
        """Remove one group that holds no process; another one is kept until the end of the life."""
        with suppress(OSError):
            if (group := self.groups.get(name)) is not None and group.is_empty:
                del self.groups[name]
                group.close()
                os.rmdir(group.place.folder)

    def close(self) -> None:
        """Give the descriptors back; the groups stay."""
        for group in self.groups.values():
            group.close()
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def remove(self) -> bool:
        """Kill what is left and remove every group; return whether all were removed."""
        gone = remove(self.base, pause=_pause)
        self.close()
        return gone


def tag_of(state_dir: Path) -> str:
    """Return the part of a group's name that belongs to a state folder."""
    return hashlib.sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:12]


def home(own: GroupPath) -> GroupPath:
    """Return the group below which a supervisor makes its own."""
    return own.parent if own.folder.name == SUBGROUP else own


def make_tree(own: GroupPath, tag: str, limits: Mapping[str, Limits]) -> GroupTree:
    """Make the groups of a start, after removing those of supervisors that were killed.

    `limits` has an entry for every process of the runtime. Raises SandboxError when the host gives no group.
    """
    place = home(own)
    tree = GroupTree(place.child(_PREFIX + tag))
    try:
        if not os.access(place.folder / PROCS, os.W_OK):  # a process that moves from here to below must be let go
            raise SandboxError(LAYER, _why_not_writable(place))
        remove_leftovers(place, tree.base.folder.name)
        _fill(tree, place, limits)
    except (OSError, SandboxError) as error:
        if tree.lock >= 0:  # else it is not ours
            with suppress(OSError):
                tree.remove()
        if isinstance(error, SandboxError):
            raise
        raise SandboxError(LAYER, f"cannot make a group below {place.name}: {error.strerror}") from error
    return tree


def _why_not_writable(place: GroupPath) -> str:
    if os.statvfs(place.folder).f_flag & os.ST_RDONLY:
        return f"control groups are mounted read-only here, so none can be made below {place.name}"
    return f"the group {place.name} belongs to another user"


def _fill(tree: GroupTree, place: GroupPath, limits: Mapping[str, Limits]) -> None:
    os.mkdir(tree.base.folder, 0o755)
    with suppress(OSError):  # unmarked, it is removed by the next start of this host only
        os.setxattr(tree.base.folder, _MARK, b"1")
    tree.lock = _locked(tree.base.folder)
    if not (tree.base.folder / KILL).exists():
        raise SandboxError(LAYER, "this kernel has no cgroup.kill (Linux 5.14)")
    kind = (tree.base.folder / _TYPE).read_text().strip()
    if kind != "domain":  # the group above is one for threads: no process can be below
        raise SandboxError(LAYER, f"groups below {place.name} cannot hold processes: they are `{kind}`")
    tree.controllers, tree.missing = _hand_down(place, tree.base)
    for name, wanted in limits.items():
        tree.groups[name] = Group(tree.base.child(name), wanted)
        tree.controllers &= tree.groups[name].controllers


def remove_leftovers(place: GroupPath, own: str = "") -> None:
    """Remove the groups below `place` that supervisors have left, and kill what is in them.

    Those are the one called `own`, and each that has both a name as we give it and our mark: what others keep in a
    group of a similar name is none of ours.
    """
    for name in os.listdir(place.folder):
        if name == own or (_NAME.fullmatch(name) and _is_marked(place.folder / name)):
            with suppress(OSError):  # it is in use, or another user's
                lock = _locked(place.folder / name)
                try:
                    remove(place.child(name), pause=_pause)
                finally:
                    os.close(lock)


def _is_marked(folder: Path) -> bool:
    try:
        return bool(os.getxattr(folder, _MARK, follow_symlinks=False))
    except OSError:
        return False


def _locked(folder: Path) -> int:
    """Return a descriptor that holds the lock of a group. Raises OSError when another process does.

    A record lock, fcntl(2), which no forked child shares, on a file of the group that is used for nothing else.
    """
    descriptor = os.open(folder / _LOCKED_FILE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _hand_down(place: GroupPath, base: GroupPath) -> tuple[frozenset[str], str]:
    """Hand the controllers down to the processes' groups. Return those that are there, and why others are not."""
    offered = (place.folder / "cgroup.controllers").read_text().split()
    absent = [name for name in CONTROLLERS if name not in offered]
    reasons = [f"{_listed(absent)} not delegated to {place.name}"] if absent else []
    # Pids and cpu can be handed down by a group that holds processes, but then the groups below are for threads only,
    # and no process can enter them. The root of the hierarchy, which has no type, is free of that.
    if (
        len(absent) < len(CONTROLLERS)
        and (place.folder / _TYPE).exists()
        and (place.folder / PROCS).read_text().strip()
    ):
        why = f"{place.name} holds processes itself: start tlsrt in a group called `{SUBGROUP}` below it"
        return frozenset(), "; ".join([*reasons, why])
    handed: list[str] = []
    refused: dict[str, list[str]] = {}
    for name in CONTROLLERS:
        if name in offered:
            try:
                for folder in (place.folder, base.folder):
                    write(folder / _HANDED_DOWN, f"+{name}")
                handed.append(name)
            except OSError as error:
                refused.setdefault(f"{place.name} hands nothing down: {error.strerror}", []).append(name)
    reasons += [f"{_listed(names)}: {why}" for why, names in refused.items()]
    return frozenset(handed), "; ".join(reasons)


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"
