"""When the audit log of a host was verified last, and found whole: for `doctor`, as a note that proves nothing."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime

from tlsrt.config import files
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

VERIFIED = "audit-verified.json"  # in the state folder


def note_verified(config: Config, now: datetime) -> None:
    """Write it down, if we may."""
    with suppress(ConfigError):
        text = json.dumps({"at": now.isoformat(timespec="seconds")})
        files.replace(config.state_dir / VERIFIED, f"{text}\n".encode(), 0o644)
