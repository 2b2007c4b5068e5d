"""Options of the backup service."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tlsrt import Length, MisuseError, Range, parse_cron

SOURCE = re.compile(r"[a-z0-9_-]{1,32}")
_SOURCES_MOST = 32
_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """One source: a folder or file that stands under `needs` too, as `read`, or `write` for databases with a log.

    Or the runtime itself: its configuration and all of its state, as a file that only its master_key opens.
    """

    path: Path | None = None
    runtime: bool = False
    at: Annotated[str, Length(100, 1)] = "30 3 * * *"  # five fields, by the clock of the host
    keep: Annotated[int, Range(1, 1000)] = 14
    keep_days: Annotated[int, Range(1, 3650)] | None = None
    late_after_s: Annotated[int, Range(60, 366 * _DAY_S)] = 2 * _DAY_S

    def __post_init__(self) -> None:
        _check_time(self.at)
        if (self.path is None) != self.runtime:
            raise ValueError("name a path, or say `runtime: true` for the host itself, and not both")


@dataclass(frozen=True, kw_only=True)
class BackupOptions:
    """Options of the backup service."""

    target: Annotated[Path, "The folder for backups; name it under `needs` (write) too."]
    sources: Annotated[dict[str, SourceOptions], "What is kept, by names."]
    try_at: Annotated[str, Length(100, 1), "When a restore is tried, in five fields."] = "30 5 * * 0"
    trial_bytes: Annotated[int, Range(1, 1 << 50), "The largest content whose restore is tried."] = 4 << 30
    keep_free_bytes: Annotated[int, Range(0, 1 << 50), "Room that is left on the target's disk."] = 64 << 20

    def __post_init__(self) -> None:
        if not 0 < len(self.sources) <= _SOURCES_MOST:
            raise ValueError(f"sources: name 1 to {_SOURCES_MOST}")
        for name in self.sources:
            if not SOURCE.fullmatch(name):
                raise ValueError(f"sources: {name!r} is no name: write a-z, 0-9, _ and -, at most 32")
        _check_time(self.try_at)


def next_s(at: str, after_ms: int) -> int:
    """Return when five fields are due next behind a wall time, in seconds since 1970, by the clock of the host."""
    return parse_cron(at).next_after(after_ms // 1000, lambda when: time.localtime(when).tm_gmtoff)


def _check_time(text: str) -> None:
    """Raise ValueError for what is no time of five fields."""
    try:
        parse_cron(text)
    except MisuseError as error:
        raise ValueError(str(error)) from None
