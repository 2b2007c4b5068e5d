"""What the backup service remembers of each source and backup over restarts: one small file, replaced in one step."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

REMEMBERED_MOST = 4096


@dataclass(slots=True)
class SourceRecord:
    """Of one source: what its last run, good backup and trial were, in wall ms."""

    begun_ms: int | None = None
    good_ms: int | None = None
    good_id: str | None = None
    failed_ms: int | None = None
    failure: str | None = None
    trial_begun_ms: int | None = None
    trial_ms: int | None = None
    trial_id: str | None = None
    trial_failure: str | None = None
    left_out: int | None = None
    left_out_first: list[str] = field(default_factory=list)


class BackupRecord:
    """The record of all sources, and when each backup was verified. `save` raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "backups.json"
        self.sources: dict[str, SourceRecord] = {}
        self.verified: dict[str, int] = {}  # by id, wall ms
        self.damaged: dict[str, str] = {}  # by id, what is wrong

    def load(self) -> bool:
        """Read it; return False if it was damaged, which forgets when what was done and nothing else."""
        try:
            tree: dict[str, Any] = json.loads(self._path.read_bytes())
            self.sources = {str(name): SourceRecord(**one) for name, one in tree["sources"].items()}
            self.verified = {str(name): int(at) for name, at in tree["verified"].items()}
            self.damaged = {str(name): str(why) for name, why in tree["damaged"].items()}
        except FileNotFoundError:
            return True
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return False
        return True

    def of(self, source: str) -> SourceRecord:
        """Return the record of a source."""
        return self.sources.setdefault(source, SourceRecord())

    def forget_others(self, sources: set[str], ids: set[str]) -> None:
        """Forget sources that are no more, and backups that were removed."""
        self.sources = {name: one for name, one in self.sources.items() if name in sources}
        self.verified = {name: at for name, at in self.verified.items() if name in ids}
        self.damaged = {name: why for name, why in self.damaged.items() if name in ids}

    def save(self) -> None:
        """Have the disk keep it."""
        tree = {
            "sources": {name: asdict(one) for name, one in self.sources.items()},
            "verified": dict(list(self.verified.items())[-REMEMBERED_MOST:]),
            "damaged": dict(list(self.damaged.items())[-REMEMBERED_MOST:]),
        }
        beside = self._path.with_suffix(".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as out:
            out.write(json.dumps(tree).encode())
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
