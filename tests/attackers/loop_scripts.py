"""A running host with an attacker's script in every process of the five loops, as root and as a user without rights."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from hosts.primary_core import component_in, hosted_in_primary
from hosts.running_host import RunningHost, running

from attackers.arena import PACKAGE, VICTIM
from tlsrt.config.defaults import PROCESSES

SCRIPTS = {process: component_in(process, "script") for process in PROCESSES}
COMPONENTS = {
    VICTIM: {"class": "captured.counter:Counter", "process": "shared"},
    **{address: {"class": "captured.script:Script", "process": "shared"} for address in SCRIPTS.values()},
}
POLICY = {f"client/admin -> {address}": "*" for address in COMPONENTS}


# Otherwise the first few tries would be the last ones.
PATIENT = """
from tlsrt.supervisor.process import syscall_monitor
syscall_monitor.REFUSED_BURST = syscall_monitor.BROKERED_BURST = 1e9
"""


def scripted(
    request: pytest.FixtureRequest, mode: str, *, loops: Any = None, patient: bool = False
) -> Iterator[RunningHost]:
    """The body of a fixture: a host whose loops do what a test tells them.

    `patient` stands for a supervisor that does not mind how often a loop tries what it may not.
    """
    yield from running(
        request, components=COMPONENTS, policy=POLICY, packages=[PACKAGE], mode=mode, extra={"loops": loops or {}},
        prelude=hosted_in_primary(SCRIPTS["primary"], more=PATIENT if patient else ""), detection={"mode": "observe"},
    )  # fmt: skip


def files_of(host: RunningHost) -> dict[str, str]:
    """Return the files and folders of a host that no loop may reach; each loop's own are left out by `world`."""
    config = host.config
    named = {
        "master key": config.master_key.path,
        "boot token": config.boot_token,
        "key of the door": config.door.key,
        "key of the CA": host.folder / "ca.key",
        "configuration": host.config_path,
        "bundle of the admin": host.folder / "admin.tlsrt",
        "state of the authority": config.state_dir / "authority",
        "start lock": config.state_dir / "lock",
        "run folder": config.run_dir,
        "log folder": config.log_dir,
        "state folder": config.state_dir,
        "log of the authority": config.log_dir / "authority.log",
        "passwords of the host": "/etc/shadow",
    }
    for loop in PROCESSES:
        named |= {
            f"state of {loop}": config.state_dir / loop,
            f"channel of {loop}": config.run_dir / "channel" / loop,
            f"log of {loop}": config.log_dir / f"{loop}.log",
        }
    return {name: os.fspath(path) for name, path in named.items() if path is not None}


def sockets_of(host: RunningHost) -> dict[str, str]:
    """Return the path-named sockets of a host."""
    channels = {f"channel of {loop}": host.config.run_dir / "channel" / loop / "primary.sock" for loop in SCRIPTS}
    return {name: str(path) for name, path in {**channels, "control": host.config.run_dir / "control.sock"}.items()}


@contextmanager
def decoys(host: RunningHost) -> Iterator[dict[str, Any]]:
    """Listen on an abstract socket and on one with a path, as any program of the host might."""
    abstract = f"tlsrt-decoy-{secrets.token_hex(8)}"
    path = host.base / "decoy.sock"
    with ExitStack() as stack:
        for name in (f"\0{abstract}", str(path)):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(name)
            listener.listen(64)
        path.chmod(0o777)
        stack.callback(path.unlink)
        yield {"abstract": [abstract], "path": str(path)}


def world(host: RunningHost, decoy: dict[str, Any]) -> dict[str, Any]:
    """Return what an insider would know."""
    paths = files_of(host)
    numbers = {name: (os.stat(path).st_dev, os.stat(path).st_ino) for name, path in paths.items()}
    return {
        "files": paths,
        "numbers": {name: list(number) for name, number in numbers.items()},
        "pids": host.all_pids(),
        "sockets": {**sockets_of(host), "decoy": decoy["path"]},
        "abstract": decoy["abstract"],
    }
