"""The policies that come with tlsrt: one file a loop in `profiles/`, composed from what it extends."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tlsrt.config.plain import read_plain
from tlsrt.errors import SandboxError
from tlsrt.sandbox.bpf import digest
from tlsrt.sandbox.policy import Part, Policy, Stage, compose, parse_part, program_of
from tlsrt.sandbox.seccomp import Pinned, pin
from tlsrt.sandbox.shelf import cache

FOLDER = Path(__file__).parent / "profiles"
LOOPS = ("primary", "secondary", "third", "forth", "external")
DECLARED = "declared"
NETWORK = "network"


def policy_of(process: str, *, network: bool) -> Policy:
    """Return the policy of the authority, or of a loop; one that an operator declared gets `declared`.

    `network` says that the process keeps the host's network. Raises SandboxError for a file that is wrong.
    """
    first = process if process in ("authority", *LOOPS) else DECLARED
    return _policy(process, (first, NETWORK) if network else (first,))


@dataclass(frozen=True, slots=True)
class Filters:
    """What one process installs: the first filter, and the last one in the memory to which the first one holds it."""

    importing: bytes
    seal: Pinned


@cache
def filters_for(process: str, *, network: bool, pid: int = 1) -> Filters:
    """Return the filters of a process for this machine; `pid` is its own number, 1 in its own pid namespace.

    The supervisor asks before it forks, so that a child finds them made. Raises SandboxError.
    """
    seal = pin(program_for(process, Stage.SEALED, network=network, pid=pid))
    return Filters(program_for(process, Stage.IMPORTING, network=network, pid=pid, seal=seal.address), seal)


@cache
def program_for(process: str, stage: Stage, *, network: bool, pid: int = 1, seal: int = 0) -> bytes:
    """Return one filter; `seal` is the address of the last one. Raises SandboxError."""
    return program_of(policy_of(process, network=network), stage, os.uname().machine, pid, seal)


def filter_digests(process: str, *, network: bool) -> tuple[bytes, bytes]:
    """Return the digests of both filters, as they are with address and pid that are the same in every life.

    Raises SandboxError.
    """
    first, second = (digest(program_for(process, stage, network=network)) for stage in Stage)
    return first, second


@cache
def _policy(process: str, names: tuple[str, ...]) -> Policy:
    order: dict[str, Part] = {}
    for name in names:
        _collect(name, order, ())
    return compose(process, list(order.values()))


def _collect(name: str, order: dict[str, Part], path: tuple[str, ...]) -> None:
    if name in path:
        raise SandboxError("seccomp", f"profile {name} extends itself: {' > '.join((*path, name))}")
    if name in order:
        return
    part = read_part(name)
    for base in part.extends:
        _collect(base, order, (*path, name))
    order[name] = part


@cache
def read_part(name: str) -> Part:
    """Return one part. Raises SandboxError when there is no such file, ConfigError when it is not YAML."""
    file = FOLDER / f"{name}.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SandboxError("seccomp", f"cannot read the profile {file}: {error.strerror}") from error
    return parse_part(name, read_plain(text, str(file)))
