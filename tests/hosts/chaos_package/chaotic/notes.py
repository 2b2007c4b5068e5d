"""Lines of JSON that outlive their writer: each is one write(2), so it is there whole or not at all when it is killed.

No fsync: what is written survives the death of the process, and these runs do not cut the power.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Notes:
    """One writer's file. Every life of the writer begins with a line `life`."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.life = secrets.token_hex(4)
        self.write("life", self.life, monotonic_ms())

    def write(self, *fields: object) -> None:
        os.write(self._file, json.dumps(fields, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        self.write("bye", monotonic_ms())
        os.close(self._file)
