"""Which uid each process gets: one of its own as root, the supervisor's own where there is no root.

As root a process gets its uid once and keeps it for ever, whatever is added, removed or ordered anew later, as its
files belong to it: STATE_DIR/uids.json remembers them as numbers above `uid_base`. A number is never given again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tlsrt.config import files
from tlsrt.config.files import read_bounded
from tlsrt.config.schema import Config, SandboxConfig
from tlsrt.errors import ConfigError
from tlsrt.sandbox.profile.program_profile import slots_of_all

AUTHORITY = "authority"
HELPERS, RESOLVER, METRICS, EXPORT = ("helper", "network_helper"), "resolver", "metrics", "export"
ACME, LEARNER = "acme", "learner"
FILE = "uids.json"
_LOOPS = range(1, 256)  # numbers of the loops' own processes
_PARTS = range(256, 4096)  # those of further processes
_FILE_MAX = 1 << 20
_FILE_MODE = 0o644
_ROOM = 512  # uids at the start: more than loops can be declared; slots of programs take more, up to 4095, if there are
_LEAST = 1000  # the schema's, below are those of the system


@dataclass(frozen=True, slots=True)
class Uids:
    """Rootless or not, and the uids that follow from it."""

    rootless: bool
    own_uid: int
    uid_base: int
    numbers: Mapping[str, int] = field(default_factory=dict[str, int])  # process -> above uid_base
    mapped: tuple[range, ...] = field(default=(), compare=False)  # the ids that exist here

    def uid(self, name: str) -> int:
        """Return the uid (and gid) of a process of a loop, of the authority, or of a helper, which is root's."""
        if self.rootless:
            return self.own_uid
        if name in HELPERS:
            return 0
        return self.uid_base + (0 if name == AUTHORITY else self.numbers[name])

    def extended(self, config: Config) -> Uids:
        """Return the same with uids for processes that are new in a configuration. Raises ConfigError."""
        if self.rootless:
            return self
        known = {**read_numbers(config.state_dir / FILE), **self.numbers}  # also those of a reload that was refused
        numbers = give_numbers(known, _names(config))
        return _checked(replace(self, numbers=numbers))

    def all_uids(self) -> range:
        """Return every uid that processes of tlsrt run as, as root, and those that lie between."""
        return range(self.uid_base, self.uid_base + max(self.numbers.values(), default=0) + 1)


def give_numbers(known: Mapping[str, int], processes: Sequence[str]) -> dict[str, int]:
    """Return the numbers of all processes that ever were, with new ones for those that have none. Pure.

    Raises ConfigError when none is left.
    """
    numbers = dict(known)
    taken = set(numbers.values())
    for process in processes:
        if process in numbers:
            continue
        numbers[process] = next((one for one in (_PARTS if "." in process else _LOOPS) if one not in taken), 0)
        if not numbers[process]:
            raise ConfigError(
                f"there is no uid left for {process}: {len(known)} processes have had one on this host; take those out "
                f"of {FILE} in its state folder that will never come again, with tlsrt stopped"
            )
        taken.add(numbers[process])
    return numbers


def parse_numbers(data: bytes, path: Path) -> dict[str, int]:
    """Return what a file remembers. Raises ConfigError for one that is none of ours."""
    try:
        tree = json.loads(data)
        numbers: dict[str, int] = tree["uids"]
        all_numbers = [*numbers.values()]
        is_good = (
            tree["version"] == 1
            and all(type(one) is int and one in (_PARTS if "." in name else _LOOPS) for name, one in numbers.items())
            and len(set(all_numbers)) == len(all_numbers)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        is_good = False
    if not is_good:
        raise ConfigError(f"cannot use {path}: it is damaged; put it back from a backup, as files belong to these uids")
    return numbers


def read_numbers(path: Path) -> dict[str, int]:
    """Return the numbers that a host remembers; none for a new one. Raises ConfigError."""
    return parse_numbers(read_bounded(path, _FILE_MAX, "the uids"), path) if os.path.lexists(path) else {}


def remember(config: Config, identity: Uids) -> None:
    """Write the numbers to the state folder, if they are others than those there. Raises ConfigError."""
    path = config.state_dir / FILE
    if identity.rootless:
        return
    known = read_numbers(path)
    if not known.items() <= identity.numbers.items():
        raise ConfigError(f"{path} has changed since it was read: start tlsrt again")
    if known != identity.numbers:
        text = json.dumps({"version": 1, "uids": dict(identity.numbers)}, indent=1)
        files.replace(path, f"{text}\n".encode(), _FILE_MODE)


def parse_id_map(text: str) -> list[range]:
    """Return the ids that exist in a user namespace, from its uid_map (user_namespaces(7))."""
    found: list[range] = []
    for line in text.splitlines():
        inside, _, length = (int(word) for word in line.split())
        found.append(range(inside, inside + length))
    return found


def identify(config: Config, own_uid: int, mapped: Sequence[range], known: Mapping[str, int] | None = None) -> Uids:
    """Decide how processes get their uids; `known` are the numbers of those that ever were.

    Raises ConfigError when uid_base does not exist in this container.
    """
    # Where the operator did without own uids, everything is as rootless: the supervisor's uid for all.
    rootless = own_uid != 0 or sum(len(ids) for ids in mapped) == 1 or "uid" in config.sandbox.waive
    if rootless:
        return Uids(rootless, own_uid, config.sandbox.uid_base)
    numbers = give_numbers(known or {}, _names(config))
    return _checked(Uids(False, own_uid, config.sandbox.uid_base, numbers, tuple(mapped)))


def _names(config: Config) -> list[str]:
    """Return all that has a uid of its own: the processes of loops, and those that there can be of programs."""
    own = [*([RESOLVER] if config.needs_resolver else []), *([METRICS] if config.metrics.place is not None else [])]
    own += [EXPORT] if config.collectors else []
    own += [ACME] if config.acme.origin is not None else []
    own += [LEARNER] if config.needs_learner else []
    return [*(loop.name for loop in config.loops), *own, *slots_of_all(config)]


def _checked(identity: Uids) -> Uids:
    wanted, mapped = identity.all_uids(), identity.mapped
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
    """Return the identity for the process that asks. Raises ConfigError."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        mapped = parse_id_map(file.read())
    known = read_numbers(config.state_dir / FILE) if os.geteuid() == 0 else {}
    return identify(config, os.geteuid(), mapped, known)
