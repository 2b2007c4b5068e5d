"""The journal of a restore: once it is written, all its renames are done, by another command if need be.

.restore                     beside the configuration: [what was written, its place, where the old one goes], each
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tlsrt.config.files import as_config_error, is_at, open_regular, read_bounded, remove, sync_folder, write_new
from tlsrt.config.trusted_path import check_trusted, trusted_uids
from tlsrt.errors import ConfigError

JOURNAL = ".restore"
_JOURNAL_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Move:
    """One thing to be put in its place; what is there before goes to `kept`."""

    staged: Path
    place: Path
    kept: Path


def write_journal(path: Path, moves: Iterable[Move]) -> None:
    """Write the journal: from then on the restore is done, by `complete`."""
    rows = [[str(move.staged), str(move.place), str(move.kept)] for move in moves]
    beside = path.with_name(f"{JOURNAL}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)
    write_new(beside, json.dumps(rows).encode(), 0o600)
    with as_config_error("write", path.with_name(JOURNAL)):
        os.rename(beside, path.with_name(JOURNAL))
    sync_folder(path.parent)


def complete(path: Path) -> str:
    """Complete a restore beside a configuration whose moment has come; return what was done, or "".

    Raises ConfigError for a journal that cannot be used, or one that another user could have written.
    """
    journal = path.with_name(JOURNAL)
    if not os.path.lexists(journal):
        return ""
    check_trusted(journal, "the journal of a restore", trusted_uids())
    try:
        descriptor = open_regular(journal, "the journal of a restore", follow=False)
    except ConfigError:
        if not os.path.lexists(journal):
            return ""  # another command has completed it just now
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # a start and a restore may be at it at once
        if not is_at(descriptor, journal):
            return ""  # who had the lock has completed it
        _complete(journal)
    finally:
        os.close(descriptor)
    return "a restore was interrupted before, and was completed"


def _complete(journal: Path) -> None:
    """Do what is left of the journal, and remove it; its lock is held."""
    for move in _parsed(read_bounded(journal, _JOURNAL_MAX, "the journal of a restore"), journal):
        with as_config_error("restore", move.place):
            if not os.path.lexists(move.staged):
                continue  # it is in its place
            if os.path.lexists(move.place):
                os.rename(move.place, move.kept)
            os.rename(move.staged, move.place)
        sync_folder(move.place.parent)
    remove(journal)


def _parsed(data: bytes, journal: Path) -> list[Move]:
    try:
        rows = [[Path(word) for word in row] for row in json.loads(data)]
        return [Move(staged, place, kept) for staged, place, kept in rows]
    except (ValueError, TypeError):
        raise ConfigError(f"the journal of a restore, {journal}, is damaged: look at it, and remove it") from None
