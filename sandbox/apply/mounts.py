"""Mount tables: /proc/PID/mountinfo as values, and the expected table of a confined process. Pure.

proc_pid_mountinfo(5). A bind keeps the device and the path inside the file system of what it binds, so the host's own
table tells exactly what each mount of the process must show: another folder at the same name is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

_DELETED = "//deleted"  # the kernel's mark on a bound file that was replaced on the host, as resolv.conf often is
_HARMLESS = frozenset({"nosuid", "nodev", "noexec"})
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo. `root` is the path inside the file system, `options` are the mount's own."""

    identity: int
    parent: int
    device: str
    root: str
    point: str
    options: frozenset[str]
    kind: str

    @property
    def is_writable(self) -> bool:
        return "ro" not in self.options


@dataclass(frozen=True, slots=True)
class Expected:
    """Expected mounts of a process: real paths bound read-only, (host folder, path) writable."""

    binds: tuple[str, ...]
    write: tuple[tuple[str, str], ...] = ()
    proc: bool = False
    sys: bool = False
    scratch: tuple[str, ...] = ()  # folders in memory that end with the process
    hidden: tuple[str, ...] = ()  # folders below the binds that are empty inside


def _unescape(text: str) -> str:
    """Undo the octal escapes of blanks, backslash and # in paths. Other bytes stand for themselves."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Return the mounts of a mountinfo text; raises ValueError if a line is not of that form."""
    mounts: list[Mount] = []
    for line in text.splitlines():
        fields = line.split(" ")
        dash = fields.index("-", 6)
        root, point = _unescape(fields[3]), _unescape(fields[4])
        options = frozenset(fields[5].split(","))
        mounts.append(Mount(int(fields[0]), int(fields[1]), fields[2], root, point, options, fields[dash + 1]))
    return tuple(mounts)


@lru_cache(maxsize=64)
def mount_identities(text: str) -> frozenset[int]:
    """Return the numbers of the mounts in a mountinfo text. Raises ValueError as `parse_mountinfo` does."""
    return frozenset(mount.identity for mount in parse_mountinfo(text))


def _is_below(path: str, folder: str) -> bool:
    return path == folder or folder == "/" or path.startswith(folder + "/")


def locate(mounts: Sequence[Mount], path: str) -> tuple[str, str]:
    """Return (device, path inside its file system) of a real path. Raises ValueError if no mount holds it."""
    holders = [mount for mount in mounts if _is_below(path, mount.point)]
    if not holders:
        raise ValueError(f"no mount holds {path}")
    longest = max(len(mount.point) for mount in holders)
    stacked = [mount for mount in holders if len(mount.point) == longest]
    below = {mount.parent for mount in stacked}
    top = next(mount for mount in reversed(stacked) if mount.identity not in below)
    rest = path.removeprefix(top.point).strip("/")
    inside = f"{top.root.rstrip('/')}/{rest}" if rest else top.root
    return top.device, inside


def _wrong_root(mounts: Sequence[Mount]) -> Iterator[str]:
    roots = [mount for mount in mounts if mount.point == "/"]
    if len(roots) != 1 or roots[0].kind != "tmpfs":
        yield "the root is not the minimal one"
    elif roots[0].is_writable:
        yield "the root is writable"


def _wrong_write(expected: Expected, mounts: Sequence[Mount], own: Sequence[Mount]) -> Iterator[str]:
    hosts = {inside: host for host, inside in expected.write}
    for mount in mounts:
        if mount.point in expected.scratch:
            if mount.kind != "tmpfs" or not mount.options >= _HARMLESS:
                yield f"{mount.point} is not a scratch folder with nosuid, nodev and noexec"
        elif mount.is_writable and mount.point != "/" and mount.point not in hosts:
            yield f"{mount.point} is writable"
    for inside, host in hosts.items():
        found = [mount for mount in mounts if mount.point == inside]
        if len(found) != 1:
            yield f"{inside} is mounted {len(found)} times"
        elif (found[0].device, found[0].root) != locate(own, host):
            yield f"{inside} is not {host}"
        elif not found[0].options >= _HARMLESS:
            yield f"{inside} lacks nosuid, nodev or noexec"


def _wrong_read(expected: Expected, mounts: Sequence[Mount], own: Sequence[Mount]) -> Iterator[str]:
    for path in expected.binds:
        found = [mount for mount in mounts if mount.point == path]
        if len(found) != 1:
            yield f"{path} is mounted {len(found)} times"
        elif (found[0].device, found[0].root.removesuffix(_DELETED)) != locate(own, path):
            yield f"{path} is not the host's"
        elif "nosuid" not in found[0].options:
            yield f"{path} lacks nosuid"


def _wrong_hidden(expected: Expected, mounts: Sequence[Mount]) -> Iterator[str]:
    """Look at the mount on top: where the host has one at such a folder, a bind brings that along."""
    for path in expected.hidden:
        stacked = [mount for mount in mounts if mount.point == path]
        below = {mount.parent for mount in stacked}
        if [(mount.kind, mount.root) for mount in stacked if mount.identity not in below] != [("tmpfs", "/")]:
            yield f"{path} is not hidden"


def _wrong_extra(expected: Expected, mounts: Sequence[Mount]) -> Iterator[str]:
    allowed = [*expected.binds, *(inside for _, inside in expected.write), "/dev/null"]
    allowed += ["/sys"] if expected.sys else []
    allowed += expected.scratch
    for mount in mounts:
        if mount.point == "/" or any(_is_below(mount.point, path) for path in allowed):
            continue
        if not (expected.proc and mount.point == "/proc" and mount.kind == "proc"):
            yield f"{mount.point} is mounted"


@lru_cache(maxsize=64)  # asked again with every heartbeat, and the texts hardly ever change
def mount_differences(expected: Expected, inside: str, outside: str) -> tuple[str, ...]:
    """Compare the mountinfo text of a process with what is expected and with our own text.

    Returns one sentence for each difference: none means that it sees exactly what its profile says.
    """
    try:
        mounts, own = parse_mountinfo(inside), parse_mountinfo(outside)
        wrong = tuple(_wrong_root(mounts))
        if wrong:  # then every other mount is wrong too
            return wrong
        return (
            *_wrong_write(expected, mounts, own),
            *_wrong_read(expected, mounts, own),
            *_wrong_hidden(expected, mounts),
            *_wrong_extra(expected, mounts),
        )
    except (ValueError, IndexError) as error:
        return (f"cannot read the mount table: {error}",)
