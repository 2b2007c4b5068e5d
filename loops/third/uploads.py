"""Uploads: files that come piece by piece, over several connections and lives of the loop.

Theory of operation: an upload is named by who sends it, the file's name, its size and its SHA-256, so whatever came
before of an upload is the begin of the very same bytes. It lies in a hidden file beside the others; how much of it is
there is that file's size. Bytes are taken in order only. With the last one the SHA-256 of all is compared, and only
then the file gets its name, in one rename. A wrong byte, on the way or on the disk, makes the whole upload void.

A sender that goes on with an upload ends an earlier one, whose connection may be dead without being known to be.
What is not gone on with is removed after a day, or sooner when its room is needed; unfinished bytes count as files do.

What is awaited has its work done in the disk thread; all else is called there.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from functools import partial
from typing import Protocol

from tlsrt import Busy, CallError, Conflict, DiskThread, DiskWork, Failed
from tlsrt.loops.third.digests import Digests, check_digest, hash_file
from tlsrt.loops.third.folder import KEPT, OpenFile, Quota, told, write_all

UPLOADS_MAX = 32  # unfinished at a time, of all
UPLOADS_SHARE = UPLOADS_MAX // 4  # of one sender
IDLE_S = 24 * 3600.0
_SENDER = 16  # characters of a hidden name that say whose it is
SYNC_BYTES = 8 * 1024 * 1024  # so much is written before the disk has to have it: the last fsync stays short


class UploadStore(Protocol):
    """Where finished and unfinished files lie. Every failure is a CallError, but for what `name_kept` says."""

    kept: dict[str, int]  # bytes of each unfinished upload, by its hidden name

    @property
    def quota(self) -> Quota: ...

    def check_new(self, name: str) -> None:
        """Refuse a name that no file can have here."""
        ...

    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file, or None if there is none."""
        ...

    def check_room(self, name: str, size: int, more: int) -> None:
        """Refuse what would break a quota; `size` is what the new file has so far."""
        ...

    def open_kept(self, part: str) -> int:
        """Return a descriptor that reads and adds to an unfinished upload, made if it is not there."""
        ...

    def changed_of(self, part: str) -> float:
        """Return when an unfinished upload got its last byte (wall clock, s)."""
        ...

    def drop_kept(self, part: str) -> None:
        """Remove an unfinished upload."""
        ...

    def name_kept(self, part: str, name: str) -> None:
        """Let an unfinished upload be the content of a file. Raises OSError, and then it is still what it was."""
        ...


class Upload:
    """One unfinished file."""

    def __init__(self, part: str, name: str, size: int, sha256: str) -> None:
        self.part = part
        self.name = name
        self.size = size
        self.sha256 = sha256
        self.turn = 0  # who writes: only the last one that began
        self.is_written = False  # a sender does
        self.running: hashlib._Hash | None = None  # of what is there; None in a new life of the loop
        self.unsynced = 0


class Uploads:
    """All unfinished files of a folder."""

    def __init__(self, folder: UploadStore, digests: Digests, disk: DiskThread) -> None:
        self._folder = folder
        self._digests = digests
        self._disk = disk
        self._uploads: dict[str, Upload] = {}

    async def begin(self, subject: str, name: str, size: int, sha256: str) -> tuple[int, bool]:
        """Return how many bytes of it are here, and whether that is the whole file under its name already."""
        self._folder.check_new(name)
        check_digest(sha256)
        there = await self._disk.run(subject, DiskWork(partial(self._folder.size_of, name)))
        if there == size and (await self._digests.of(name, subject)).sha256 == sha256:
            return size, True
        return await self._disk.run(subject, DiskWork(partial(self._begin, subject, name, size, sha256))), False

    def _begin(self, subject: str, name: str, size: int, sha256: str) -> int:
        if size > self._folder.quota.file_bytes:
            raise Failed(f"{name} has {size} bytes, and {self._folder.quota.file_bytes} is the limit for a file")
        self._sweep()
        part = _part_of(subject, name, size, sha256)
        there = self._folder.kept.get(part, 0)
        own = self._own(part)
        if part not in self._folder.kept:
            if len(own) >= UPLOADS_SHARE and not self._drop_idle(part, own):
                raise _too_many()
            if len(self._folder.kept) >= UPLOADS_MAX and not self._drop_idle(part):
                raise _too_many()
        self._make_room(part, name, there, size - there)
        return there

    async def writer(self, subject: str, name: str, size: int, sha256: str, offset: int) -> Writing:
        """Go on with an upload from `offset` on, which must be where it ends; Conflict says where that is."""
        self._folder.check_new(name)
        check_digest(sha256)
        part = _part_of(subject, name, size, sha256)
        file = OpenFile(partial(self._folder.open_kept, part))
        writing = Writing(self, self._folder, Upload(part, name, size, sha256), file)
        try:
            await self._disk.run(subject, DiskWork(partial(writing.begin, offset)))
            if writing.needs_hash:
                running = await hash_file(self._disk, subject, file, offset)
                await self._disk.run(subject, DiskWork(partial(writing.go_on_from, running)))
        except BaseException:
            self._disk.post(subject, DiskWork(writing.close))
            raise
        return writing

    async def receive(
        self, subject: str, name: str, size: int, sha256: str, offset: int, data: AsyncIterator[bytes]
    ) -> tuple[int, bool]:
        """Take the next bytes, which stay if this breaks; return what is here, and whether that is the whole file."""
        writing = await self.writer(subject, name, size, sha256, offset)
        try:
            async for chunk in data:
                await self._disk.run(subject, DiskWork(partial(writing.write, chunk), size=len(chunk)))
            return await self._disk.run(subject, DiskWork(writing.finish))
        finally:
            self._disk.post(subject, DiskWork(writing.close))

    def take(self, upload: Upload, offset: int) -> Upload:
        """Return the upload that is known by that name, else this one; Conflict if it does not end at `offset`."""
        part, size = upload.part, upload.size
        there = self._folder.kept.get(part, 0)
        if offset != there or size > self._folder.quota.file_bytes:
            raise Conflict(f"{there} bytes of {upload.name} are here, so it does not go on at {offset}: ask begin_put")
        if part not in self._folder.kept and (
            len(self._folder.kept) >= UPLOADS_MAX or len(self._own(part)) >= UPLOADS_SHARE
        ):
            raise _too_many()
        return self._uploads.setdefault(part, upload)

    def forget(self, part: str) -> None:
        """Remove what there is of an upload."""
        self._uploads.pop(part, None)
        self._folder.drop_kept(part)

    def done(self, upload: Upload) -> None:
        """Its bytes are those of the file now."""
        self._uploads.pop(upload.part, None)

    def _sweep(self) -> None:
        limit = time.time() - IDLE_S
        for part in self._idle():
            if self._folder.changed_of(part) < limit:
                self.forget(part)

    def _idle(self) -> list[str]:
        """Return the unfinished ones that are not being sent now, the oldest first."""
        idle = [part for part in self._folder.kept if part not in self._uploads or not self._uploads[part].is_written]
        return sorted(idle, key=self._folder.changed_of)

    def _own(self, part: str) -> set[str]:
        """Return the unfinished ones of the same sender, those of an earlier life of the loop too."""
        mine = part[: len(KEPT) + _SENDER]
        return {each for each in self._folder.kept if each.startswith(mine)}

    def _drop_idle(self, but: str, among: Collection[str] | None = None) -> bool:
        """Remove the oldest one that is not being sent now; False if there is none."""
        for part in self._idle():
            if part != but and (among is None or part in among):
                self.forget(part)
                return True
        return False

    def _make_room(self, part: str, name: str, there: int, more: int) -> None:
        while True:
            try:
                self._folder.check_room(name, there, more)
                return
            except Failed:
                if not self._drop_idle(part):
                    raise


class Writing:
    """One sender at work. `close` it; without `finish` what has come stays for the next one."""

    def __init__(self, uploads: Uploads, folder: UploadStore, upload: Upload, file: OpenFile) -> None:
        self._uploads = uploads
        self._folder = folder
        self._upload = upload
        self._file = file
        self._turn = 0  # it has none yet

    def begin(self, offset: int) -> None:
        """Take the turn, from `offset` on."""
        self._upload = self._uploads.take(self._upload, offset)
        self._upload.turn += 1
        self._turn = self._upload.turn
        self._folder.kept.setdefault(self._upload.part, self._file.status().st_size)
        self._upload.is_written = True

    @property
    def needs_hash(self) -> bool:
        """Whether what is there has not been read yet: this is a new life of the loop."""
        return self._upload.running is None

    def go_on_from(self, running: hashlib._Hash) -> None:
        """Take the SHA-256 of what is there, unless another sender has taken the turn meanwhile."""
        self._upload.running = self._upload.running or running
        self.check_turn(self._turn)

    def check_turn(self, turn: int) -> None:
        if self._upload.turn != turn or self._folder.kept.get(self._upload.part) is None:
            raise Conflict(f"{self._upload.name} is being sent over another connection")

    @property
    def offset(self) -> int:
        """How many bytes are here."""
        return self._folder.kept.get(self._upload.part, 0)

    def write(self, data: bytes) -> None:
        """Take the next bytes; raises a CallError. A disk that is full ends the upload: others need that room."""
        upload, folder = self._upload, self._folder
        self.check_turn(self._turn)
        there = self.offset
        if there + len(data) > upload.size:
            self._uploads.forget(upload.part)
            raise Conflict(f"{upload.name}: more bytes came than were announced, nothing was changed")
        folder.check_room(upload.name, there, len(data))
        try:
            with told(upload.name):
                write_all(self._file.descriptor, data)
                upload.unsynced += len(data)
                if upload.unsynced >= SYNC_BYTES:
                    self._sync()
        except CallError:
            self._uploads.forget(upload.part)
            raise
        folder.kept[upload.part] = there + len(data)
        assert upload.running is not None
        upload.running.update(data)

    def _sync(self) -> None:
        os.fsync(self._file.descriptor)
        self._upload.unsynced = 0

    def finish(self) -> tuple[int, bool]:
        """Give the file its name if all of it is here; return how many bytes are, and whether that is done.

        Conflict if a byte of it is wrong.
        """
        upload = self._upload
        self.check_turn(self._turn)
        if self.offset != upload.size:
            return self.offset, False
        assert upload.running is not None
        if upload.running.hexdigest() != upload.sha256:
            self._uploads.forget(upload.part)
            raise Conflict(f"{upload.name}: what came is not what was announced (other SHA-256), nothing was changed")
        try:
            with told(upload.name):
                self._sync()
        except CallError:  # another sync would succeed, and the bytes would not be on the disk
            self._uploads.forget(upload.part)
            raise
        with told(upload.name):
            self._folder.name_kept(upload.part, upload.name)
        self._uploads.done(upload)
        return upload.size, True

    def close(self) -> None:
        """End this sender."""
        if self._turn and self._upload.turn == self._turn:
            self._upload.is_written = False
        with suppress(OSError):
            self._file.close()


def _part_of(subject: str, name: str, size: int, sha256: str) -> str:
    """Return the hidden name of an upload: the sender, then all; `\\0` is in none of what it is made of."""
    whole = "\0".join((subject, name, str(size), sha256)).encode()
    sender = hashlib.sha256(subject.encode()).hexdigest()[:_SENDER]
    return KEPT + sender + hashlib.sha256(whole).hexdigest()[:32]


def _too_many() -> Busy:
    return Busy(f"{UPLOADS_SHARE} files are being sent by one caller already, or {UPLOADS_MAX} by all: try again later")
