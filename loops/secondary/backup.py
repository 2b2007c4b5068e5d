"""Backups of granted folders: on a timetable, sealed, verified as soon as they are made, and a restore tried.

All that touches a disk is done in one thread, in pieces, so that a call is answered between two of them. One run at a
time. A backup has its name only when the disk has all of it; what a kill leaves is removed at the next start. It counts
as good when it was read back from the disk and each piece opened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, TypeVar

from tlsrt import (
    Busy,
    CallError,
    Component,
    ConfigError,
    DiskCheck,
    DiskThread,
    DiskWork,
    EachAlone,
    Failed,
    HostArchive,
    Length,
    MisuseError,
    NotFound,
    Pattern,
    Range,
    every,
    handler,
)
from tlsrt.loops.secondary.backup_archive import KEY_BYTES, ArchiveEntry, BrokenArchive
from tlsrt.loops.secondary.backup_options import SOURCE, BackupOptions, SourceOptions, next_s
from tlsrt.loops.secondary.backup_record import BackupRecord
from tlsrt.loops.secondary.backup_shelf import ID_PATTERN, Kept
from tlsrt.loops.secondary.backup_source import SourceError
from tlsrt.loops.secondary.backup_trial import listed, one_file
from tlsrt.loops.secondary.backup_work import BackupWork, Bounds, Steps

Item = TypeVar("Item")
Rows = list[dict[str, Any]]
READERS_MOST = 4
SourceName = Annotated[str, Pattern(SOURCE, "a-z, 0-9, _ and -, at most 32")]
Id = Annotated[str, Pattern(ID_PATTERN, "an id that `list` shows, such as work.20261201T030000.000Z")]


class Backup(Component):
    """Backups of folders and databases, which only this service can open. What counts was read back from the disk."""

    Options = BackupOptions

    def __init__(self) -> None:
        self._disk = DiskThread("backup-disk", EachAlone())
        self.disk_threads = (self._disk,)

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    async def start(self) -> None:
        self._root = self.secret("root")
        if len(self._root) != KEY_BYTES:
            raise ConfigError(
                f"the root of {self.address} has {len(self._root)} bytes and must have {KEY_BYTES} random ones: make "
                f"it by `tlsrt-supervisor secret make {self.address} root`"
            )
        options = self.options
        self._record = BackupRecord(self.state)
        self._work = BackupWork(
            options.target, self.state, self._root, options.sources,
            Bounds(trial_bytes=options.trial_bytes, keep_free_bytes=options.keep_free_bytes),
            self._record, self.wall_ms,
        )  # fmt: skip
        self._steps = Steps(self._disk)
        self._run = asyncio.Lock()
        self._doing: str | None = None
        self._readers = 0
        self._going_on: set[asyncio.Task[Any]] = set()
        self._late: set[str] = set()
        self._since_ms = self.wall_ms()
        self._check = DiskCheck(self._disk, self.state, self._trouble_now)
        try:
            if not await self._steps.run(self._record.load):
                self.log.warning("the record of earlier runs was damaged: when they were is not known any more")
            left = await self._steps.run(self._work.prepare)
        except OSError as error:
            self._disk.close()
            raise ConfigError(
                f"cannot keep backups in {self.options.target}: {error.strerror}; name it under `needs` (write), and "
                "let the component's user in (see `sandbox show`)"
            ) from None
        if left:
            self.log.warning("%d unfinished backups of an earlier process were removed", left)

    async def stop(self) -> None:
        self._disk.close()

    # -- the timetable ----------------------------------------------------------------------------------------

    @every("20s")
    async def look(self) -> None:
        """Run what is due. What was missed while the host was off is run once, soon after its start."""
        for name, source in self.options.sources.items():
            record = self._record.of(name)
            if self._is_due(source.at, record.begun_ms):
                await self._guarded(self._make(name))
            if record.good_id and self._is_due(self.options.try_at, record.trial_begun_ms):
                await self._guarded(self._try(record.good_id))
        self._look_for_late()

    def _is_due(self, at: str, last_ms: int | None) -> bool:
        last = self._since_ms if last_ms is None else min(last_ms, self.wall_ms())  # a clock that was set back
        return next_s(at, last) * 1000 <= self.wall_ms()

    async def _guarded(self, work: Any) -> None:
        with suppress(Failed, NotFound):  # it is recorded and told
            await work

    def _look_for_late(self) -> None:
        for name, source in self.options.sources.items():
            good = self._record.of(name).good_ms or self._since_ms
            if self.wall_ms() - good <= source.late_after_s * 1000:
                self._late.discard(name)
            elif name not in self._late:
                self._late.add(name)
                self.alert("late")
                self.publish("late", {"source": name, "good_ms": self._record.of(name).good_ms})
                self.log.warning("source %s: no good backup for %d s", name, (self.wall_ms() - good) // 1000)

    # -- runs -------------------------------------------------------------------------------------------------

    @handler
    async def run_now(self, source: SourceName) -> dict[str, Any]:
        """Make a backup of a source now and verify it; it goes on when the caller goes away. Error `busy` meanwhile."""
        self._source(source)
        return await self._apart(self._make(source))

    @handler
    async def verify(self, id: Id) -> dict[str, Any]:
        """Read all of a backup and compare what it holds with its seals and checksums."""
        return await self._apart(self._verify(id))

    @handler
    async def try_restore(self, id: Id) -> dict[str, Any]:
        """Restore a backup into a private folder of the service, look at each file and database, and remove it."""
        return await self._apart(self._try(id))

    async def _apart(self, work: Any) -> dict[str, Any]:
        if self._run.locked():
            work.close()
            raise Busy(f"{self._doing or 'another run'} is going on; `status` shows it, try again when it is over")
        task = asyncio.get_running_loop().create_task(work)
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # recorded, also if no one waits
        return dict(await asyncio.shield(task))

    async def _make(self, name: str) -> dict[str, Any]:
        async with self._run:
            self._doing, record, now = f"a backup of {name}", self._record.of(name), self.wall_ms()
            made = datetime.fromtimestamp(now / 1000, UTC)
            id_ = f"{name}.{made:%Y%m%dT%H%M%S}.{now % 1000:03d}Z"
            began = time.monotonic()
            archive: HostArchive | None = None
            try:
                record.begun_ms = now
                await self._save()
                archive = await self._archive(name)
                source = self._work.source(name, archive)
                await self._steps.last(self._work.written(name, id_, now, source))
                end = await self._steps.last(self._work.verified(id_, name))
                record.good_ms, record.good_id, record.failed_ms, record.failure = now, id_, None, None
                record.left_out, record.left_out_first = source.left_out_count, source.left_out
                self._record.verified[id_] = self.wall_ms()
                removed = await self._steps.run(partial(self._work.removed, name))
                await self._save()
            except (OSError, SourceError, BrokenArchive, CallError) as error:
                why = error.message if isinstance(error, CallError) else _reason(error)
                record.failed_ms, record.failure = self.wall_ms(), why
                self._work.shelf.give_up(id_)
                await self._told("failed", name, f"cannot make a backup of {name}: {why}")
                raise Failed(f"cannot make a backup of {name}: {why}") from None
            finally:
                self._doing = None
                if archive is not None:
                    archive.close()
            self.count("made")
            self.gauge(f"bytes.{name.replace('-', '_')}", end.content_bytes)
            told = {
                "id": id_, **asdict(end), "seconds": round(time.monotonic() - began, 3), "removed": removed,
                "left_out_first": source.left_out,
            }  # fmt: skip
            self.publish("made", told)
            return told

    async def _archive(self, name: str) -> HostArchive | None:
        """Have the runtime make an archive of itself, if it is the source. Raises CallErrors and SourceError."""
        if not self.options.sources[name].runtime:
            return None
        try:
            return await self.runtime.backup()
        except MisuseError as error:
            raise SourceError(
                f"{error}: --needs 'runtime=[{{may: backup, why: it is kept}}]' when it is added"
            ) from None

    async def _verify(self, id_: str) -> dict[str, Any]:
        async with self._run:
            self._doing = f"the check of {id_}"
            try:
                end = await self._steps.last(self._work.verified(id_, _source_of(id_)))
                self._record.verified[id_] = self.wall_ms()
                self._record.damaged.pop(id_, None)
                await self._save()
            except FileNotFoundError:
                raise _no_backup(id_) from None
            except (OSError, BrokenArchive) as error:
                raise await self._damaged(id_, _reason(error)) from None
            finally:
                self._doing = None
            return {"id": id_, **asdict(end)}

    async def _try(self, id_: str) -> dict[str, Any]:
        name = _source_of(id_)
        async with self._run:
            if not await self._steps.run(partial(self._work.shelf.has, id_)):
                raise _no_backup(id_)  # before a record of its source is begun, whatever name that has
            self._doing, record = f"the trial of {id_}", self._record.of(name)
            began = time.monotonic()
            try:
                record.trial_begun_ms = self.wall_ms()
                if why := await self._steps.run(partial(self._work.why_no_trial, id_)):
                    raise Failed(why)
                end = await self._steps.last(self._work.restored(id_, name))
                record.trial_ms, record.trial_id, record.trial_failure = self.wall_ms(), id_, None
                await self._save()
            except FileNotFoundError:
                raise _no_backup(id_) from None
            except Failed as error:
                record.trial_failure = error.message
                await self._told("failed", name, error.message)
                raise
            except (OSError, BrokenArchive) as error:
                record.trial_failure = _reason(error)
                raise await self._damaged(id_, _reason(error)) from None
            finally:
                self._doing = None
            self.count("tried")
            told = {"id": id_, **asdict(end), "seconds": round(time.monotonic() - began, 3)}
            self.publish("tried", told)
            return told

    async def _damaged(self, id_: str, why: str) -> Failed:
        self._record.damaged[id_] = why
        self._record.verified.pop(id_, None)
        record = self._record.of(_source_of(id_))
        if record.good_id == id_:  # it is none: `late` goes by the one before
            record.good_id, record.good_ms = None, None
        message = f"the backup {id_} is no good: {why}; make another by run_now"
        await self._told("damaged", _source_of(id_), message)
        return Failed(message)

    async def _told(self, kind: str, source: str, message: str) -> None:
        self.log.warning("%s", message)
        self.alert(kind)
        self.count(kind)
        self.publish(kind, {"source": source, "message": message})
        try:
            await self._save()
        except OSError as error:
            self.log.warning("cannot write the record of backups: %s", error.strerror)

    async def _save(self) -> None:
        await self._steps.run(self._record.save)

    # -- reads ------------------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def list(self, source: SourceName | None = None, limit: Annotated[int, Range(1, 500)] = 100) -> Rows:
        """Backups that are kept, the latest first: id, size, when it was verified, and what is wrong with it."""
        kept: Sequence[Kept] = await self._steps.run(partial(self._work.shelf.kept, source))
        return [
            {
                **asdict(one),
                "verified_wall_ms": self._record.verified.get(one.id),
                "damage": self._record.damaged.get(one.id),
            }
            for one in kept[:limit]
        ]

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        """Of each source the last good backup, the last failure and trial, and when the next run is; what runs now."""
        kept: Sequence[Kept] = await self._steps.run(self._work.shelf.kept)
        free = await self._steps.run(self._work.shelf.free_bytes)
        sources = {}
        for name, options in self.options.sources.items():
            own, record = [one for one in kept if one.source == name], self._record.of(name)
            last = self._since_ms if record.begun_ms is None else record.begun_ms
            sources[name] = {
                "path": None if options.path is None else str(options.path), "runtime": options.runtime,
                "kept": len(own), "size_bytes": sum(one.size_bytes for one in own),
                "last_size_bytes": own[0].size_bytes if own else None,
                "next_wall_ms": next_s(options.at, last) * 1000, "is_late": name in self._late,
                **{key: value for key, value in asdict(record).items() if key != "trial_begun_ms"},
            }  # fmt: skip
        return {"running": self._doing, "target_free_bytes": free, "sources": sources}

    @handler(idempotent=True)
    async def contents(
        self, id: Id, prefix: Annotated[str, Length(4096)] = "", limit: Annotated[int, Range(1, 500)] = 500
    ) -> Rows:
        """Files and folders in a backup whose path starts with `prefix`: path, kind, mode, changed_ms."""
        found: Rows = []
        async for item in self._reading(id, partial(listed, root=self._root, source=_source_of(id))):
            if isinstance(item, ArchiveEntry) and item.path.startswith(prefix):
                found.append({**asdict(item), "path": item.path.encode(errors="backslashreplace").decode()})
                if len(found) == limit:
                    break
        return found

    @handler(idempotent=True)
    async def fetch(self, id: Id, path: Annotated[str, Length(4096, 1)]) -> AsyncIterator[bytes]:
        """The content of one file of a backup, as a stream; it breaks with an error if anything before is damaged."""
        work = partial(one_file, root=self._root, source=_source_of(id), path=path)
        async for item in self._reading(id, work):
            if isinstance(item, bytes):
                self.count("fetched_bytes", len(item))
                yield item

    async def _reading(self, id_: str, work: Callable[..., Iterator[Item]]) -> AsyncIterator[Item]:
        if self._readers >= READERS_MOST:
            raise Busy(f"{READERS_MOST} backups are being read already, try again later")
        self._readers += 1
        file = None
        try:
            file = await self._steps.run(partial(self._work.shelf.open, id_))
            async with aclosing(self._steps.each(work(file))) as items:
                async for item in items:
                    if item is not None:
                        yield item
        except FileNotFoundError:
            raise _no_backup(id_) from None
        except KeyError:
            raise NotFound(f"there is no such file in {id_}; `contents` lists them") from None
        except (OSError, BrokenArchive) as error:
            raise await self._damaged(id_, _reason(error)) from None
        finally:
            self._readers -= 1
            if file is not None:
                self._disk.post("", DiskWork(file.close))

    def _source(self, name: str) -> SourceOptions:
        found = self.options.sources.get(name)
        if found is None:
            raise NotFound(f"no source {name}; there are {', '.join(sorted(self.options.sources))}")
        return found

    async def healthy(self) -> str | None:
        return await self._check.ask()

    def _trouble_now(self) -> str | None:
        """Return what is wrong, for `status`."""
        room = [trouble] if (trouble := self._work.trouble()) else []
        late = ", ".join(sorted(self._late))
        failed = [f"{name}: {one.failure}" for name, one in self._record.sources.items() if one.failure]
        trials = [f"{name}: {one.trial_failure}" for name, one in self._record.sources.items() if one.trial_failure]
        found = [*room, *failed, *trials, *([f"no good backup for long: {late}"] if late else [])]
        return "; ".join(found)[:500] or None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}" if error.filename else str(error.strerror or error)
    return str(error)


def _source_of(id_: str) -> str:
    return id_.partition(".")[0]


def _no_backup(id_: str) -> NotFound:
    return NotFound(f"no backup {id_}; `list` shows those that are kept")
