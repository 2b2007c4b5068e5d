"""The files in which a process finds the names of its egress rules: a hosts file of its own, and who reads it.

The C library, musl and Go look into /etc/hosts each time; the supervisor replaces the file whenever what a name means
changes. So no question of the process leaves it, and nothing that it could say in one. Where a rule lets the process
ask name servers itself it may: otherwise its nsswitch.conf has nothing but files.
"""

from __future__ import annotations

import os
from pathlib import Path

from tlsrt.config.resolver import DNS_PORT, render_hosts
from tlsrt.sandbox.profile.compose import HOSTS_FILES
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.seccomp.name_pins import NamePins

_LARGEST = 1 << 20
_FILES_ONLY = b"hosts: files\nnetworks: files\nservices: files\nprotocols: files\n"


def pinned_for(profile: Profile, pins: NamePins) -> list[tuple[str, bytes]]:
    """Return (name, address) of all that a process may reach by a name. Pure."""
    pinned = pins.all()
    return sorted(
        {(rule.name, one) for rule in profile.names for one in pinned.get(rule.name, ()) if rule.may_be(one)}
    )  # fmt: skip


def asks_servers(profile: Profile) -> bool:
    """Tell whether a rule lets a process reach the port of name servers. Pure."""
    return any(rule.first_port <= DNS_PORT <= rule.last_port for rule in profile.egress)


def write_name_files(profile: Profile, pins: NamePins) -> None:
    """Write what is not there yet, or is another one by now. Raises OSError."""
    if profile.hosts is None:
        return
    hosts, switch = (Path(path) for path in HOSTS_FILES)
    profile.hosts.mkdir(parents=True, exist_ok=True)
    for folder in (profile.hosts.parent, profile.hosts):
        folder.chmod(0o755)  # whatever the umask is: the process reads there as a user of its own
    _put(profile.hosts / hosts.name, render_hosts(read_file(hosts), pinned_for(profile, pins)))
    _put(profile.hosts / switch.name, read_file(switch) if asks_servers(profile) else _FILES_ONLY)


def read_file(path: Path | str) -> bytes:
    """Return the first MiB of a file; nothing of one that cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""


def _put(path: Path, data: bytes) -> None:
    """Replace a file as a whole: who reads it sees the one before or this one."""
    if read_file(path) == data:
        return
    new = path.with_name(f".{path.name}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o644)
        file.write(data)
    os.replace(new, path)
