"""What the backup service does on disks: steps for its thread, each so short that others come between them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tlsrt import DiskThread, DiskWork, HostArchive
from tlsrt.loops.secondary.backup_archive import ArchiveEnd, SealingWriter
from tlsrt.loops.secondary.backup_options import SourceOptions
from tlsrt.loops.secondary.backup_record import BackupRecord
from tlsrt.loops.secondary.backup_shelf import Shelf, to_remove
from tlsrt.loops.secondary.backup_source import RuntimeSource, Source, SourceError
from tlsrt.loops.secondary.backup_trial import restored, verified

Result = TypeVar("Result")
Item = TypeVar("Item")
_END = object()
_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much a backup or a trial may take, in bytes."""

    trial_bytes: int
    keep_free_bytes: int


class BackupWork:
    """Steps on the disks of one service. `wall_ms` is its wall clock."""

    def __init__(
        self, target: Path, state: Path, root: bytes, sources: dict[str, SourceOptions], bounds: Bounds,
        record: BackupRecord, wall_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self.shelf = Shelf(target)
        self._target = target
        self._state = state
        self._trial = state / "trial"
        self._root = root
        self._sources = sources
        self._bounds = bounds
        self._record = record
        self._wall_ms = wall_ms

    def source(self, name: str, archive: HostArchive | None) -> Source | RuntimeSource:
        """Return a source, to be written; `archive` is that of the runtime, if it is one."""
        path = self._sources[name].path
        if path is not None:
            return Source(path, self._state / "database.copy")
        if archive is None:
            raise SourceError("the runtime gave no archive")
        return RuntimeSource(archive, self._wall_ms())

    def trouble(self) -> str | None:
        """Return what is wrong with the target, or None."""
        try:
            if self.shelf.free_bytes() < self._bounds.keep_free_bytes:
                return f"the disk of {self._target} is almost full: make room there, or keep fewer"
        except OSError as error:
            return f"{self._target}: {error.strerror}"
        return None

    def prepare(self) -> int:
        """Remove what an earlier process has left; return how many backups that were. Raises OSError."""
        shutil.rmtree(self._trial, ignore_errors=True)
        left = self.shelf.prepare()
        self._record.forget_others(set(self._sources), {one.id for one in self.shelf.kept()})
        return left

    def written(self, name: str, id_: str, now: int, source: Source | RuntimeSource) -> Iterator[None]:
        """Write one and give it its name. Raises SourceError and OSError."""
        out = self.shelf.begin(id_)
        try:
            with out:
                writer = SealingWriter(out, self._root, name, now)
                for _ in source.put(writer):
                    if self.shelf.free_bytes() < self._bounds.keep_free_bytes:
                        raise SourceError(
                            f"the disk of {self._target} has less than {self._bounds.keep_free_bytes} bytes "
                            "left: make room there, or keep fewer"
                        )
                    yield
                writer.finish(source.left_out_count)
                self.shelf.finish(id_, out)
        except BaseException:
            self.shelf.give_up(id_)
            raise

    def verified(self, id_: str, source: str) -> Iterator[ArchiveEnd | None]:
        """Read all of one. Raises BrokenArchive and OSError."""
        with self.shelf.open(id_) as file:
            yield from verified(file, self._root, source)

    def restored(self, id_: str, source: str) -> Iterator[ArchiveEnd | None]:
        """Restore one into the private folder, and remove that. Raises BrokenArchive and OSError."""
        shutil.rmtree(self._trial, ignore_errors=True)
        self._trial.mkdir(mode=0o700)
        try:
            with self.shelf.open(id_) as file:
                yield from restored(file, self._root, source, self._trial)
        finally:
            shutil.rmtree(self._trial, ignore_errors=True)

    def removed(self, name: str) -> int:
        """Remove what is not kept any more of a source; return how many."""
        options, kept = self._sources[name], self.shelf.kept(name)
        since = None
        if options.keep_days is not None:
            oldest = datetime.fromtimestamp(self._wall_ms() / 1000 - options.keep_days * _DAY_S, UTC)
            since = f"{oldest:%Y%m%dT%H%M%S}.000Z"
        gone = list(to_remove(kept, options.keep, since, self._record.of(name).good_id))
        for one in gone:
            self.shelf.remove(one.id)
            self._record.verified.pop(one.id, None)
            self._record.damaged.pop(one.id, None)
        return len(gone)

    def why_no_trial(self, id_: str) -> str | None:
        """Return why a trial has no room, or None."""
        with self.shelf.open(id_) as file:
            size = file.seek(0, 2)
        most = min(self._bounds.trial_bytes, shutil.disk_usage(self._state).free)
        if size <= most:
            return None
        return (
            f"cannot try to restore {id_}: it has {size} bytes, and the trial may take {most}: raise trial_bytes, or "
            "make room for the state"
        )


class Steps:
    """Runs steps in a disk thread, one by one, so that a call is answered between two of them."""

    def __init__(self, disk: DiskThread) -> None:
        self._disk = disk

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do one thing and return its result. Raises what it raises."""
        return await self._disk.run("", DiskWork(work))

    async def each(self, steps: Iterator[Item]) -> AsyncGenerator[Item, None]:
        """Yield item after item; the steps are closed at the end, whatever that is."""
        try:
            while (item := await self.run(partial(next, steps, _END))) is not _END:
                yield item
        finally:
            self._disk.post("", DiskWork(partial(_close, steps)))

    async def last(self, steps: Iterator[Item]) -> Any:
        """Do all of it and return the last item."""
        last: Any = None
        async with contextlib.aclosing(self.each(steps)) as items:
            async for item in items:
                last = item
        return last


def _close(steps: Iterator[Any]) -> None:
    if isinstance(steps, Generator):
        steps.close()
