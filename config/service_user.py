"""The user of a host's service: whom root's commands trust with its state, sockets and logs, and with nothing else.

The unit that `install` or a package has written says who it is. It is root's file: what it says is root's word.
"""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path

UNITS = tuple(Path(folder, "systemd/system/tlsrt.service") for folder in ("/etc", "/usr/lib"))  # the first counts
_MAX_BYTES = 64 * 1024


def service_uids(config: Path, *units: Path) -> frozenset[int]:
    """Return the uid that the service of a configuration runs as; nothing if there is none, or it is root's.

    `units` are the places where its unit may be, by default UNITS.
    """
    text = unit_text(*units)
    if not text:
        return frozenset()
    user = named_user(text, config)
    try:
        return frozenset({pwd.getpwnam(user).pw_uid}) if user else frozenset()
    except KeyError:
        return frozenset()


def unit_text(*units: Path) -> str:
    """Return the unit that systemd takes, the first that there is; nothing if there is none, or it is not root's."""
    for unit in units or UNITS:
        try:
            with open(unit, "rb") as file:
                return file.read(_MAX_BYTES).decode() if os.fstat(file.fileno()).st_uid == 0 else ""
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            return ""
    return ""


def named_user(text: str, config: Path) -> str:
    """Return the User= of a unit that starts this configuration, nothing if it starts another. Pure."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    try:
        words = shlex.split(values.get("ExecStart", ""))
    except ValueError:
        return ""
    return values.get("User", "") if words[-2:] == ["--config", str(config).replace("%", "%%")] else ""
