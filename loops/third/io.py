"""Input and output: files in a folder of the runtime's own, and notices for people.

All that needs the disk is done in a thread of its own, so that a slow disk makes answers late and nothing else.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from tlsrt import (
    Component,
    DiskCheck,
    DiskThread,
    DiskWork,
    EachAlone,
    InvalidArgument,
    Length,
    Pattern,
    Range,
    handler,
)
from tlsrt.loops.third.content import as_bytes_untrusted
from tlsrt.loops.third.digests import HEX, Digests
from tlsrt.loops.third.folder import NAME, NAME_RULE, Folder, NewContent, Quota, check_name
from tlsrt.loops.third.readers import Readers
from tlsrt.loops.third.uploads import Uploads

Result = TypeVar("Result")

READ_BYTES = 256 * 1024  # in one answer; more goes as a stream
NOTICES = 200
_MIB = 1 << 20

Name = Annotated[str, Pattern(NAME, NAME_RULE), Length(127, 1)]
Offset = Annotated[int, Range(0, (1 << 62))]
Size = Annotated[int, Range(0, (1 << 40))]
Sha256 = Annotated[str, Pattern(HEX, "64 hexadecimal digits in small letters")]
Level = Literal["info", "warning", "error"]
Records = list[dict[str, Any]]  # named here, because in the class `list` is a handler


class InputOutput(Component):
    """Files and notices."""

    class Options:
        """Options of the folder of files."""

        total_bytes: Annotated[int, Range(1, 1 << 40), "Bytes of all files."] = 128 * _MIB
        file_bytes: Annotated[int, Range(1, 1 << 40), "Bytes of one file."] = 32 * _MIB
        files: Annotated[int, Range(1, 100_000), "How many files there may be."] = 1000

    topics = {"notice": "a notice for people: number, level, text, sender, wall_ms"}  # noqa: RUF012

    def __init__(self) -> None:
        self._disk = DiskThread("io-disk", EachAlone())
        self.disk_threads = (self._disk,)

    async def start(self) -> None:
        quota = Quota(self.options.total_bytes, self.options.file_bytes, self.options.files)
        self._check = DiskCheck(self._disk, self.state)
        try:
            self._folder = await self._on_disk(partial(Folder, self.state / "files", quota))
        except BaseException:
            self._disk.close()
            raise
        self._digests = Digests(self._folder, self._disk, quota.files)
        self._uploads = Uploads(self._folder, self._digests, self._disk)
        self._notices: deque[dict[str, Any]] = deque(maxlen=NOTICES)
        self._number = 0
        self._readers = Readers(self._disk)

    async def stop(self) -> None:
        await self._disk.run_last(DiskWork(self._folder.close))
        self._disk.close()

    async def healthy(self) -> str | None:
        return await self._check.ask()

    async def _on_disk(self, work: Callable[[], Result], size: int = 0) -> Result:
        """Have work done in the disk thread; `size` are the bytes that it holds meanwhile."""
        return await self._disk.run(self.caller, DiskWork(work, size=size))

    @handler(idempotent=True)
    async def list(
        self, after: Annotated[str, Length(127)] = "", limit: Annotated[int, Range(1, 500)] = 500
    ) -> Records:
        """Files by name: size in bytes, time of the last change; `after` = the last name asks for the next page."""
        found = await self._on_disk(partial(self._folder.list, after, limit))
        return [{"name": name, "size_bytes": s.st_size, "changed_wall_ms": s.st_mtime_ns // 10**6} for name, s in found]

    @handler(idempotent=True)
    async def write(self, name: Name, data: str | bytes) -> int:
        """Replace the content of a file by text (as UTF-8) or bytes; returns its size in bytes."""
        content = as_bytes_untrusted(data)
        return await self._on_disk(partial(self._folder.write, name, content), len(content))

    @handler
    async def append(self, name: Name, data: str | bytes) -> int:
        """Add text (as UTF-8) or bytes at the end of a file, all or nothing; returns its new size in bytes."""
        content = as_bytes_untrusted(data)
        return await self._on_disk(partial(self._folder.append, name, content), len(content))

    @handler(idempotent=True)
    async def read(
        self, name: Name, offset: Offset = 0, length: Annotated[int, Range(0, READ_BYTES)] = READ_BYTES
    ) -> bytes:
        """Bytes of a file from `offset` on, at most 256 KiB; `read_stream` gives all of a large one."""
        return await self._on_disk(partial(self._folder.read, name, offset, length))

    @handler(idempotent=True)
    async def read_text(self, name: Name) -> str:
        """A file of UTF-8 text of at most 256 KiB."""
        data = await self._on_disk(partial(self._folder.read, name, 0, READ_BYTES + 1))
        if len(data) > READ_BYTES:
            raise InvalidArgument(f"name: {name} is larger than {READ_BYTES} bytes, use read_stream")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidArgument(f"name: {name} is not UTF-8 text, use read") from None

    @handler
    async def delete(self, name: Name) -> None:
        """Remove a file; error `not_found` if there is none."""
        await self._on_disk(partial(self._folder.delete, name))

    @handler(idempotent=True)
    async def read_stream(self, name: Name, offset: Offset = 0) -> AsyncIterator[bytes]:
        """The bytes of a file as it is now, from `offset` on, in chunks; one replaced meanwhile is read to its end."""
        items = self._readers.stream(self.caller, partial(self._folder.open_read, name), offset)
        async with aclosing(items) as closing:
            async for data in closing:
                yield data

    @handler
    async def write_stream(self, name: Name, data: AsyncIterator[bytes]) -> int:
        """Replace the content of a file by an upload; returns its size. A broken upload leaves the old content."""
        check_name(name)
        caller = self.caller
        content = NewContent(self._folder, name, caller)  # it takes its place with the first chunk
        try:
            async for chunk in data:
                await self._on_disk(partial(content.write, chunk), len(chunk))
            return await self._on_disk(content.commit)
        finally:
            self._disk.post(caller, DiskWork(content.abort))

    @handler(idempotent=True)
    async def stat(self, name: Name) -> dict[str, Any]:
        """A file's size in bytes, SHA-256 and time of the last change."""
        digest = await self._digests.of(name, self.caller)
        return {"size_bytes": digest.size, "sha256": digest.sha256, "changed_wall_ms": digest.changed_ms}

    @handler(idempotent=True)
    async def begin_put(self, name: Name, size_bytes: Size, sha256: Sha256) -> dict[str, Any]:
        """Begin to send a file, or go on after a break: `offset` bytes of it are here; `done`: it is there already."""
        offset, done = await self._uploads.begin(self.caller, name, size_bytes, sha256)
        return {"offset": offset, "done": done}

    @handler
    async def go_on_put(
        self, name: Name, size_bytes: Size, sha256: Sha256, offset: Offset, data: AsyncIterator[bytes]
    ) -> dict[str, Any]:
        """Send the next bytes; they stay, also if this breaks. With the last one the SHA-256 must fit: `done`."""
        there, done = await self._uploads.receive(self.caller, name, size_bytes, sha256, offset, data)
        return {"offset": there, "done": done}

    @handler
    async def notify(self, level: Level, text: Annotated[str, Length(2000, 1)]) -> int:
        """Leave a notice for people, and publish it as event `notice`; returns its number."""
        self._number += 1
        notice = {
            "number": self._number,
            "level": level,
            "text": text,
            "sender": self.caller,
            "wall_ms": time.time_ns() // 1_000_000,
        }
        self._notices.append(notice)
        self.publish("notice", notice)
        return self._number

    @handler(idempotent=True)
    async def notices(self, after: Annotated[int, Range(0)] = 0, limit: Annotated[int, Range(1, 50)] = 50) -> Records:
        """Notices with a number above `after`, oldest first; the last 200 since the start are kept."""
        newer = [notice for notice in self._notices if notice["number"] > after]
        return newer[:limit]
