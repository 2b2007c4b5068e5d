"""The policies that come with tlsrt: one file a loop in `profiles/`, composed from what it extends."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tlsrt.config.defaults import COMPONENTS
from tlsrt.config.schema import Engine
from tlsrt.config.yaml_nodes import read_plain
from tlsrt.errors import SandboxError
from tlsrt.sandbox.profile.cache import cache
from tlsrt.sandbox.profile.fragments import parse_part
from tlsrt.sandbox.profile.policy import FilterStage, Policy, PolicyFragment, compose, program_of
from tlsrt.sandbox.seccomp.bpf import digest
from tlsrt.sandbox.seccomp.install import Pinned, pin

FOLDER = Path(__file__).parent.parent / "profiles"
LOOPS = ("primary", "secondary", "third", "forth", "external")
DECLARED = "declared"
NETWORK, OFFLINE, LIBZMQ = "network", "offline", "libzmq"


def names_for(
    process: str, *, network: bool, components: Iterable[str] | None = None, engine: Engine = "libzmq"
) -> tuple[str, ...]:
    """Return the parts of the authority, or of a loop; one that an operator declared gets `declared`.

    `network` says that the process keeps the host's network, `components` are the addresses of its built-in components
    (None: all that there are), each of which has a part for what only it needs. `engine` is what the loops speak to
    Primary through; Primary itself never speaks through libzmq.
    """
    first = part_of_process(process)
    if process == "authority":
        return (first,)
    if components is None:
        components = [component.address for component in COMPONENTS if component.loop == process]
    own = [part_of_component(address) for address in components]
    threads = (LIBZMQ,) if engine == "libzmq" and process != "primary" else ()
    return (first, *threads, NETWORK if network else OFFLINE, *own)


def part_of_process(process: str) -> str:
    """Return the name of the part that a process begins with, behind what that extends."""
    return process if process in ("authority", *LOOPS) else DECLARED


def part_of_component(address: str) -> str:
    """Return the name of the part for a built-in component."""
    return f"components/{address.replace('/', '_')}"


def parts_named(names: Iterable[str]) -> tuple[PolicyFragment, ...]:
    """Return these parts with all that they extend, each once and behind what it extends. Raises SandboxError."""
    order: dict[str, PolicyFragment] = {}
    for name in names:
        _collect(name, order, ())
    return tuple(order.values())


def policy_of(process: str, *, network: bool, engine: Engine = "libzmq") -> Policy:
    """Return the policy of a process with all of its built-in components. Raises SandboxError for a wrong file."""
    return policy_from(process, parts_named(names_for(process, network=network, engine=engine)))


@cache
def policy_from(process: str, parts: tuple[PolicyFragment, ...]) -> Policy:
    """Return the policy of these parts, the same object for the same parts. Raises SandboxError."""
    return compose(process, parts)


@dataclass(frozen=True, slots=True)
class Filters:
    """What one process installs: the first filter, and the last one in the memory to which the first one holds it."""

    importing: bytes
    seal: Pinned


@cache
def filters_for(policy: Policy, *, watched: bool, pid: int = 1) -> Filters:
    """Return the filters of a process for this machine; `pid` is its own number, 1 in its own pid namespace.

    `watched` says that the first one will have a listener. The supervisor asks before it forks, so that a child finds
    them made. Raises SandboxError.
    """
    seal = pin(program_for(policy, FilterStage.SEALED, watched=watched, pid=pid))
    return Filters(program_for(policy, FilterStage.IMPORTING, watched=watched, pid=pid, seal=seal.address), seal)


@cache
def program_for(policy: Policy, stage: FilterStage, *, watched: bool, pid: int = 1, seal: int = 0) -> bytes:
    """Return one filter; `seal` is the address of the last one. Raises SandboxError."""
    return program_of(policy, stage, os.uname().machine, pid, seal, watched=watched)


def filter_digests(policy: Policy, *, watched: bool) -> tuple[bytes, bytes]:
    """Return the digests of both filters, as they are with address and pid that are the same in every life.

    Raises SandboxError.
    """
    first, second = (digest(program_for(policy, stage, watched=watched)) for stage in FilterStage)
    return first, second


def _collect(name: str, order: dict[str, PolicyFragment], path: tuple[str, ...]) -> None:
    if name in path:
        raise SandboxError("profile", f"profile {name} extends itself: {' > '.join((*path, name))}")
    if name in order:
        return
    part = read_part(name)
    for base in part.extends:
        _collect(base, order, (*path, name))
    order[name] = part


@cache
def read_part(name: str) -> PolicyFragment:
    """Return one part. Raises SandboxError when there is no such file, ConfigError when it is not YAML."""
    file = FOLDER / f"{name}.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SandboxError("profile", f"cannot read the profile {file}: {error.strerror}") from error
    return parse_part(name, read_plain(text, str(file)))
