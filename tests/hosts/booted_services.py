"""A booted systemd with its bus, polkit and a tlsrt host in it, which has services of the secondary loop added."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import pytest
from tools.programs import need

from hosts.booted_systemd import HOME, BootedSystemd, booted

CONFIG = "/etc/tlsrt/tlsrt.yaml"
UNIT = f"""
[Service]
ExecStart={HOME}/env/bin/tlsrt-supervisor --config {CONFIG} start
Delegate=yes
KillMode=mixed
"""
# What the bus asks before it lets a client in: libnss-systemd reads the record that tlsrt puts there.
NSSWITCH = "passwd: files systemd\ngroup: files systemd\nshadow: files\nhosts: files\n"


def booted_services(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    """The body of a fixture: a systemd with bus and polkit, and a configuration that is not started yet."""
    _need()
    for machine in booted(request):
        _prepare(machine)
        yield machine


@contextmanager
def booted_machine() -> Iterator[BootedSystemd]:
    """The same outside of a test."""
    _need()
    with BootedSystemd() as machine:
        _prepare(machine)
        yield machine


def _need() -> None:
    need("xdg-dbus-proxy")
    need("pkcheck")
    metadata.distribution("dbus-fast")  # else it is not in there either


def _prepare(machine: BootedSystemd) -> None:
    machine.write("/etc/nsswitch.conf", NSSWITCH)
    machine.systemctl("start", "dbus.socket", "dbus.service", "polkit.service")
    machine.do("tlsrt-supervisor", "init", "/etc/tlsrt")
    machine.write("/run/systemd/system/tlsrt.service", UNIT)
    machine.systemctl("daemon-reload")


def call(machine: BootedSystemd, component: str, method: str, *words: str) -> Any:
    """Call a method as the client admin; return its answer, or the words of its error."""
    done = machine.run("tlsrt", "--bundle", "/etc/tlsrt/admin.tlsrt", "call", "--json", component, method, *words)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()
