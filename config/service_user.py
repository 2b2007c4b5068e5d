"""The user of a host's service: whom root's commands trust with its state, sockets and logs, and with nothing else.

The unit that `install` has written says who it is. It is root's file: what it says is root's word.
"""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path

UNIT = Path("/etc/systemd/system/tlsrt.service")
_MAX_BYTES = 64 * 1024


def service_uids(config: Path, unit: Path = UNIT) -> frozenset[int]:
    """Return the uid that the service of a configuration runs as; nothing if there is none, or it is root's."""
    try:
        with open(unit, "rb") as file:
            if os.fstat(file.fileno()).st_uid != 0:
                return frozenset()
            text = file.read(_MAX_BYTES).decode()
    except (OSError, ValueError):
        return frozenset()
    user = named_user(text, config)
    try:
        return frozenset({pwd.getpwnam(user).pw_uid}) if user else frozenset()
    except KeyError:
        return frozenset()


def named_user(text: str, config: Path) -> str:
    """Return the User= of a unit that starts this configuration, nothing if it starts another. Pure."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    try:
        words = shlex.split(values.get("ExecStart", ""))
    except ValueError:
        return ""
    return values.get("User", "") if words[-2:] == ["--config", str(config).replace("%", "%%")] else ""
