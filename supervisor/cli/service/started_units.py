"""Which units of this machine are active, and which of those by an older file: `install` starts them anew."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_ASKED_S = 5.0


def is_active_here(unit: str) -> bool:
    """Say whether a unit of this machine is active. Raises OSError and TimeoutExpired."""
    command = ["systemctl", "is-active", "--quiet", unit]
    return subprocess.run(command, timeout=_ASKED_S, capture_output=True, check=False).returncode == 0


def older_than_their_files(files: Sequence[Path]) -> list[str]:
    """Return the names of those units that became active before their files were written, as they are given.

    A unit that is not active is none of them, nor is one of which systemd says nothing.
    """
    return [file.name for file in files if _is_older(file)]


def _is_older(file: Path) -> bool:
    command = ["systemctl", "show", "--property", "ActiveEnterTimestampMonotonic", "--value", file.name]
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        said = subprocess.run(command, capture_output=True, text=True, timeout=_ASKED_S, check=True).stdout
        since_s = time.monotonic() - int(said) / 1e6
        # both as ages: the wall clock may have been set since
        return is_active_here(file.name) and time.time() - os.stat(file).st_mtime < since_s
    return False
