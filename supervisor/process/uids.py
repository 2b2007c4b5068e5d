"""Which uid each process gets: one of its own as root, the supervisor's own where there is no root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tlsrt.config.schema import Config, SandboxConfig
from tlsrt.errors import ConfigError

AUTHORITY = "authority"
_PARTS = 256  # the first uid of the further processes of loops, so that no loop's uid depends on them; behind all loops
_ROOM = 512  # uids: far more than loops can be declared
_LEAST = 1000  # the schema's, below are those of the system


@dataclass(frozen=True, slots=True)
class Uids:
    """Rootless or not, and the uids that follow from it."""

    rootless: bool
    own_uid: int
    uid_base: int
    loops: tuple[str, ...]
    parts: tuple[str, ...] = ()  # further processes of loops

    def uid(self, name: str) -> int:
        """Return the uid (and gid) of a process of a loop, or of the authority."""
        if self.rootless:
            return self.own_uid
        if name == AUTHORITY:
            return self.uid_base
        if name in self.parts:
            return self.uid_base + _PARTS + self.parts.index(name)
        return self.uid_base + 1 + self.loops.index(name)

    def all_uids(self) -> range:
        """Return every uid that processes of tlsrt run as, as root, and those that lie between."""
        last = _PARTS + len(self.parts) if self.parts else len(self.loops) + 1
        return range(self.uid_base, self.uid_base + last)


def parse_id_map(text: str) -> list[range]:
    """Return the ids that exist in a user namespace, from its uid_map (user_namespaces(7))."""
    found: list[range] = []
    for line in text.splitlines():
        inside, _, length = (int(word) for word in line.split())
        found.append(range(inside, inside + length))
    return found


def identify(config: Config, own_uid: int, mapped: Sequence[range]) -> Uids:
    """Decide how processes get their uids. Raises ConfigError when uid_base does not exist in this container."""
    loops = tuple(loop.name for loop in config.loops if not loop.is_part)
    parts = tuple(loop.name for loop in config.loops if loop.is_part)
    # Where the operator did without own uids, everything is as rootless: the supervisor's uid for all.
    rootless = own_uid != 0 or sum(len(ids) for ids in mapped) == 1 or "uid" in config.sandbox.waive
    identity = Uids(rootless, own_uid, config.sandbox.uid_base, loops, parts)
    if not rootless:
        wanted = identity.all_uids()
        if not any(wanted[0] in ids and wanted[-1] in ids for ids in mapped):
            raise ConfigError(
                f"sandbox.uid_base: the uids {wanted[0]} to {wanted[-1]} do not exist in this user namespace; "
                f"choose one inside {', '.join(f'{ids[0]} to {ids[-1]}' for ids in mapped)}"
            )
    return identity


def fitting_uid_base(mapped: Sequence[range], default: int) -> int | None:
    """Return a uid_base that exists here: the default, or in a container with few ids one below its last; else None."""
    if any(default in ids and default + _ROOM in ids for ids in mapped):
        return default
    starts = [ids.stop - 2 * _ROOM for ids in mapped if len(ids) > 2 * _ROOM]  # past it: nobody, and who knows who
    fitting = [start for start in starts if start >= _LEAST]
    return max(fitting, default=None)


def other_uid_base() -> int | None:
    """Return the uid_base that this process must configure, None where the default one does or none is there."""
    default = SandboxConfig().uid_base
    with open("/proc/self/uid_map", encoding="ascii") as file:
        found = fitting_uid_base(parse_id_map(file.read()), default)
    return None if found == default else found


def own_identity(config: Config) -> Uids:
    """Return the identity for the process that asks."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return identify(config, os.geteuid(), parse_id_map(file.read()))
