"""Keys that systemd has handed over at the start of the host, and that have changed since."""

from __future__ import annotations

import os
from pathlib import Path

from tlsrt.supervisor.cli.service import units

CREDENTIALS = Path("/run/credentials") / units.SERVICE.name  # systemd.exec(5), $CREDENTIALS_DIRECTORY


def stale_keys(config: Path, service: str, credentials: Path = CREDENTIALS) -> list[str]:
    """Return a sentence for each key of a host that a unit's text hands over, and that is newer than its copy."""
    if not units.runs(service, config):
        return []
    found: list[str] = []
    for name, path in units.loaded_credentials(service):
        try:
            changed = os.stat(path).st_mtime_ns > os.stat(credentials / name).st_mtime_ns
        except OSError:  # it does not run under this unit, or the key is none that we may see
            continue
        if changed:
            found.append(
                f"{path} has changed since the host started, and systemd hands keys over at a start only: `systemctl "
                f"restart {units.NAME}` takes it"
            )
    return found
