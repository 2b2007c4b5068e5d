"""What a restore writes beside the places of a host, before the moment at which all of it takes them.

Nothing of it is believed: each name that a backup brings is checked before a file has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from tlsrt.config.document import MAX_FILE_BYTES
from tlsrt.config.files import as_config_error, write_new
from tlsrt.config.isolation import check_isolated, packages_folder
from tlsrt.config.manifest import MANIFEST_MAX
from tlsrt.config.remove_tree import remove_tree
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.archive.host_archive import (
    CONFIG,
    CONFIG_DROP_INS,
    DROP_INS,
    FILES,
    KEYS,
    PACKAGES,
    STATE,
    ArchiveEntry,
    entries_untrusted,
    read_entry,
    skip_entry,
    write_entry,
)
from tlsrt.supervisor.archive.host_content import FILE_MAX
from tlsrt.supervisor.cli.backup.journal import Move
from tlsrt.supervisor.process.uids import FILE as UIDS
from tlsrt.supervisor.process.uids import HELPERS, Uids

_SMALL_MAX = 64 << 20  # bytes of all that is not state
_LIMITS = {
    CONFIG: MAX_FILE_BYTES, CONFIG_DROP_INS: MAX_FILE_BYTES, DROP_INS: MANIFEST_MAX, FILES: FILE_MAX, KEYS: FILE_MAX,
}  # fmt: skip


@dataclass(slots=True)
class Small:
    """What is not state: section -> name -> content."""

    sections: dict[str, dict[str, bytes]] = field(default_factory=lambda: {name: {} for name in _LIMITS})
    bytes: int = 0

    def take(self, file: BinaryIO, entry: ArchiveEntry) -> None:
        """Read one more. Raises ConfigError."""
        named = self.sections.get(entry.section)
        if named is None or not entry.path or "/" in entry.path or entry.path in named:
            raise ConfigError(f"the backup has no place for {entry.section}/{entry.path}")
        named[entry.path] = read_entry(file, entry, _LIMITS[entry.section])
        self.bytes += len(named[entry.path])
        if self.bytes > _SMALL_MAX:
            raise ConfigError("the backup holds more than a host can have beside its state")


class Staging:
    """What is written beside the places of a host."""

    def __init__(self, config: Config, now: datetime) -> None:
        self._config = config
        self._mark = f"{now:%Y%m%dT%H%M%S%f}"
        self._packages: Path | None = None  # where those of isolated components are written
        self.moves: list[Move] = []

    def stage_state(
        self, file: BinaryIO, first: ArchiveEntry | None, identity: Uids, small: Small
    ) -> list[str]:  # fmt: skip
        """Write the state; return the names of processes that this host does not have. Raises ConfigError."""
        folder = self._beside(self._config.state_dir)
        with as_config_error("make the folder", folder):
            os.makedirs(folder.parent, 0o755, exist_ok=True)
            os.mkdir(folder, 0o711)
        if (uids := small.sections[FILES].get(UIDS)) is not None:
            write_new(folder / UIDS, uids, 0o644)
        unknown: dict[str, None] = {}
        made = set[Path]()
        for entry in chain([first], entries_untrusted(file)) if first is not None else ():
            if entry.section == PACKAGES:
                self._stage_package(file, entry, made)
                continue
            process = entry.section.removeprefix(f"{STATE}/")
            if entry.section == process or not process:
                raise ConfigError(f"the backup has no place for {entry.section}/{entry.path}")
            if not _has(identity, process):
                unknown[process] = None
                skip_entry(file, entry)
                continue
            uid = identity.uid(process)
            owner = (uid, os.getegid() if identity.rootless else uid)
            write_entry(file, entry, folder / process, owner, made)
        if self._packages is not None:
            for one in self._packages.iterdir():
                check_isolated(one)
        return list(unknown)

    def _stage_package(self, file: BinaryIO, entry: ArchiveEntry, made: set[Path]) -> None:
        """Write one entry of the packages of isolated components, which every process may read."""
        if self._packages is None:
            self._packages = self._beside(packages_folder(self._config.path))
        write_entry(file, entry, self._packages, (os.geteuid(), os.getegid()), made)
        if not entry.first:
            os.chmod(self._packages / entry.path, 0o755 if entry.is_folder or entry.mode & 0o100 else 0o644)

    def stage_files(self, placed: Iterable[tuple[Path, bytes, int]]) -> None:
        """Write files and keys."""
        for place, data, mode in placed:
            self._file(place, data, mode)

    def stage_folder(self, target: Path, drop_ins: Mapping[str, bytes]) -> None:
        """Write a folder of drop-ins."""
        if drop_ins or target.exists():  # those that are there are another host's
            folder = self._beside(target)
            with as_config_error("make the folder", folder):
                os.makedirs(folder, 0o755)
            for name, content in drop_ins.items():
                write_new(folder / name, content, 0o644)

    def remove(self) -> None:
        """Remove what was written: nothing of it takes a place."""
        for move in self.moves:
            with suppress(OSError):
                remove_tree(move.staged) if move.staged.is_dir() else move.staged.unlink(missing_ok=True)

    def _file(self, place: Path, data: bytes, mode: int) -> None:
        with as_config_error("make the folder", place.parent):
            os.makedirs(place.parent, 0o755, exist_ok=True)
        write_new(self._beside(place), data, mode)

    def _beside(self, place: Path) -> Path:
        staged = place.with_name(f".{place.name}.{self._mark}.new")
        self.moves.append(Move(staged, place, place.with_name(f"{place.name}.before-restore.{self._mark}")))
        return staged


def _has(identity: Uids, process: str) -> bool:
    if process in HELPERS:
        return False  # they have none, and would be root's
    try:
        identity.uid(process)
    except KeyError:
        return False
    return True
