"""Uploads: files that come piece by piece, over several connections and lives of the loop.

Theory of operation: an upload is named by who sends it, the file's name, its size and its SHA-256, so whatever came
before of an upload is the begin of the very same bytes. It lies in a hidden file beside the others; how much of it is
there is that file's size. Bytes are taken in order only. With the last one the SHA-256 of all is compared, and only
then the file gets its name, in one rename. A wrong byte, on the way or on the disk, makes the whole upload void.

A sender that goes on with an upload ends an earlier one, whose connection may be dead without being known to be.
What is not gone on with is removed after a day, or sooner when its room is needed; unfinished bytes count as files do.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress

from tlsrt.config.files import write_all
from tlsrt.errors import CallError, Conflict, Failed
from tlsrt.loops.third.digests import Digests, check_digest, hash_file
from tlsrt.loops.third.folder import KEPT, Folder, check_name, told

UPLOADS_MAX = 32  # unfinished at a time, of all
IDLE_S = 24 * 3600.0
SYNC_BYTES = 8 * 1024 * 1024  # so much is written before the disk has to have it: the last fsync stays short


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

    def __init__(self, folder: Folder, digests: Digests) -> None:
        self._folder = folder
        self._digests = digests
        self._uploads: dict[str, Upload] = {}

    async def begin(self, subject: str, name: str, size: int, sha256: str) -> tuple[int, bool]:
        """Return how many bytes of it are here, and whether that is the whole file under its name already."""
        check_name(name)
        check_digest(sha256)
        if self._folder.size_of(name) == size and (await self._digests.of(name)).sha256 == sha256:
            return size, True
        if size > self._folder.quota.file_bytes:
            raise Failed(f"{name} has {size} bytes, and {self._folder.quota.file_bytes} is the limit for a file")
        self._sweep()
        part = _part_of(subject, name, size, sha256)
        there = self._folder.kept.get(part, 0)
        if part not in self._folder.kept and len(self._folder.kept) >= UPLOADS_MAX and not self._drop_idle(part):
            raise Failed(f"{UPLOADS_MAX} files are being sent already, try again later")
        self._make_room(part, name, there, size - there)
        return there, False

    async def writer(self, subject: str, name: str, size: int, sha256: str, offset: int) -> Writing:
        """Go on with an upload from `offset` on, which must be where it ends; Conflict says where that is."""
        check_name(name)
        check_digest(sha256)
        part = _part_of(subject, name, size, sha256)
        there = self._folder.kept.get(part, 0)
        if offset != there or size > self._folder.quota.file_bytes:
            raise Conflict(f"{there} bytes of {name} are here, so it does not go on at {offset}: ask begin_put")
        if part not in self._folder.kept and len(self._folder.kept) >= UPLOADS_MAX:
            raise Failed(f"{UPLOADS_MAX} files are being sent already, try again later")
        upload = self._uploads.setdefault(part, Upload(part, name, size, sha256))
        upload.turn += 1
        turn = upload.turn
        descriptor = self._folder.open_kept(part)
        try:
            if upload.running is None:
                running = await hash_file(descriptor, there)
                upload.running = upload.running or running
            writing = Writing(self, self._folder, upload, descriptor)
            writing.check_turn(turn)
        except BaseException:
            os.close(descriptor)
            raise
        return writing

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

    def _drop_idle(self, but: str) -> bool:
        """Remove the oldest one that are not being sent now."""
        for part in self._idle():
            if part != but:
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

    def __init__(self, uploads: Uploads, folder: Folder, upload: Upload, descriptor: int) -> None:
        self._uploads = uploads
        self._folder = folder
        self._upload = upload
        self._descriptor = descriptor
        self._turn = upload.turn
        upload.is_written = True

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
                write_all(self._descriptor, data)
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
        os.fsync(self._descriptor)
        self._upload.unsynced = 0

    def finish(self) -> bool:
        """Give the file its name if all of it is here; False if it is not. Conflict if a byte of it is wrong."""
        upload = self._upload
        self.check_turn(self._turn)
        if self.offset != upload.size:
            return False
        assert upload.running is not None
        if upload.running.hexdigest() != upload.sha256:
            self._uploads.forget(upload.part)
            raise Conflict(f"{upload.name}: what came is not what was announced (other SHA-256), nothing was changed")
        with told(upload.name):
            self._sync()
            self._folder.name_kept(upload.part, upload.name)
        self._uploads.done(upload)
        return True

    def close(self) -> None:
        """End this sender."""
        if self._upload.turn == self._turn:
            self._upload.is_written = False
        with suppress(OSError):
            os.close(self._descriptor)


def _part_of(subject: str, name: str, size: int, sha256: str) -> str:
    """Return the hidden name of an upload; `\\0` is in none of what it is made of."""
    whole = "\0".join((subject, name, str(size), sha256)).encode()
    return KEPT + hashlib.sha256(whole).hexdigest()[:32]
