"""Profile files that come with tlsrt, as they were at one moment, and what was made of them.

A reload makes new profiles beside the old ones and may yet be refused, while a loop that dies meanwhile must come back
under the old one. So what is made of the files belongs to one object, which nothing changes afterwards, and a reload
takes another one if the files have changed. What is made twice of the same is the same object, so that a reload which
changes nothing of a process makes no new filters.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from tlsrt.config.processes import DOOR_PROCESS
from tlsrt.config.programs import ProgramConfig
from tlsrt.config.schema import Engine
from tlsrt.config.yaml_nodes import read_plain
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.sandbox.profile.fragment import PolicyFragment, parse_fragment
from tlsrt.sandbox.profile.policy import Policy, compose

FOLDER = Path(__file__).parent.parent / "profiles"
LOOP_PROCESSES = ("primary", "primary.facts", DOOR_PROCESS, "secondary", "third", "forth", "external")
DECLARED = "declared"
# Processes of the runtime that are no loops.
_OWN = ("authority", "helper", "network_helper", "resolver", "metrics", "export", "acme", "learner")
DOOR = "door"
NETWORK, OUTBOUND, DIRECT, OFFLINE, LIBZMQ = "network", "outbound", "direct", "offline", "libzmq"
THREADS, DISK, LISTEN, BUS, SELF_PAIR = "threads", "disk", "listen", "bus", "self_pair"
Made = TypeVar("Made")


class ProfileFiles:
    """The files below a folder, read when they are needed. Raises ConfigError for a folder that cannot be read."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._fingerprint = fingerprint(folder)
        self._made: dict[Hashable, Any] = {}

    def renewed(self) -> ProfileFiles:
        """Return these, or others if the files have changed since. Raises ConfigError."""
        return self if fingerprint(self._folder) == self._fingerprint else ProfileFiles(self._folder)

    def keep(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what was made of the files under this key, and make it if it was not. An error is not kept."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def fragment(self, name: str) -> PolicyFragment:
        """Return one fragment. Raises SandboxError for a missing file, ConfigError for one that is no YAML."""
        return self.keep(name, lambda: self._read(name))

    def fragments(self, names: Iterable[str]) -> tuple[PolicyFragment, ...]:
        """Return these with all that they extend, each once and behind what it extends. Raises SandboxError."""
        order: dict[str, PolicyFragment] = {}
        for name in names:
            self._collect(name, order, ())
        return tuple(order.values())

    def policy(self, process: str, fragments: tuple[PolicyFragment, ...], *, is_quiet: bool = False) -> Policy:
        """Return the policy of these fragments. Raises SandboxError."""
        return self.keep((process, fragments), lambda: compose(process, fragments, is_quiet=is_quiet))

    def _collect(self, name: str, order: dict[str, PolicyFragment], path: tuple[str, ...]) -> None:
        if name in path:
            raise SandboxError("profile", f"profile {name} extends itself: {' > '.join((*path, name))}")
        if name in order:
            return
        fragment = self.fragment(name)
        for base in fragment.extends:
            self._collect(base, order, (*path, name))
        order[name] = fragment

    def _read(self, name: str) -> PolicyFragment:
        file = self._folder / f"{name}.yaml"
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise SandboxError("profile", f"cannot read the profile {file}: {error.strerror}") from error
        return parse_fragment(name, read_plain(text, str(file)))


def fingerprint(folder: Path) -> bytes:
    """Return a SHA-256 over the names and bytes of the YAML files in and below a folder. Raises ConfigError."""
    digest = hashlib.sha256()
    try:
        for file in sorted(folder.rglob("*.yaml")):
            for piece in (os.fsencode(file.relative_to(folder)), file.read_bytes()):
                digest.update(len(piece).to_bytes(8, "big") + piece)
    except OSError as error:
        raise ConfigError(f"cannot read the profile {error.filename}: {error.strerror}") from None
    return digest.digest()


def names_for(
    process: str, *, network: bool, engine: Engine = "native", asked: Iterable[str] = (), outbound: bool = False,
    direct: bool = False, accepts: bool = True, has_door: bool = False,
) -> tuple[str, ...]:  # fmt: skip
    """Return the fragments of the authority or of a loop. A loop that an operator declared gets `declared`.

    `network` says that the process keeps the host's network, `outbound` that it reaches hosts without, `direct` that it
    makes its sockets itself, as no supervisor hears of its calls, `accepts` that it inherits no listener whose
    connections are those of a program, `has_door` that the door runs in it. `engine` is what the loops speak to Primary
    through; Primary itself never speaks through libzmq. `asked` are fragments that components ask for.
    """
    first = fragment_of_process(process)
    if process in _OWN:
        return (first,)
    link = (LIBZMQ,) if engine == "libzmq" and process not in ("primary", DOOR_PROCESS) else ()
    door = (DOOR,) if has_door and process != DOOR_PROCESS else ()
    reach = [*([NETWORK] if network else []), DIRECT if direct else OUTBOUND] if network or outbound else [OFFLINE]
    pair = (SELF_PAIR,) if accepts and reach != [OFFLINE] else ()
    return (first, *door, *link, *reach, *pair, *asked)


def names_for_program(program: ProgramConfig, *, own_pids: bool) -> tuple[str, ...]:
    """Return the fragments of a program that a component has run."""
    memory = ("program_memory",) if program.executable_memory else ()
    shared = ("program_shared",) if program.shared_memory else ()
    signals = "program_signals" if own_pids else "program_signals_self"
    replies = ("program_replies",) if any(one.replies for one in program.listen) else ()
    sends = "program_streams" if program.egress else "program_silent"
    words = "program_notifies" if program.notifies else "" if replies or program.netlink else sends
    words = "program_bus" if program.bus is not None else words
    reach = [*(["program_egress"] if program.egress else []), *(["program_listen"] if program.listen else [])]
    reach += ["program_sockets"] if reach else []
    reach += ["program_netlink"] if program.netlink else []
    locks = ("program_locks",) if "CAP_IPC_LOCK" in program.capabilities else ()
    once = "program_runs" if program.also_runs else "program_once"
    return ("program", once, signals, *([words] if words else []), *replies, *reach, *memory, *shared, *locks)


def fragment_of_process(process: str) -> str:
    """Return the name of the fragment that a process begins with, behind what that extends."""
    return process if process in (*_OWN, *LOOP_PROCESSES) else DECLARED
