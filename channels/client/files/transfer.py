"""`put` and `get` of a file, over any number of connections.

A component that takes part has the methods `stat(name)`, `read_stream(name, offset)`, `begin_put(name, size, sha256)`
and `go_on_put(name, size, sha256, offset, data)`, as `third/io` has them.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tlsrt.channels.client.files.download_target import DownloadTarget
from tlsrt.channels.client.files.remote_path import RemotePath
from tlsrt.channels.client.files.resume import ResumeProgress, steadily
from tlsrt.channels.client.files.upload_source import UploadSource
from tlsrt.errors import Conflict, Failed, NotFound

SEGMENT_BYTES = 8 * 1024 * 1024  # of one call; a call has to end within 300 s
SEGMENT_S = 300.0
ASK_S = 30.0
PATIENCE_S = 30.0
NOT_ONE = "the component does not answer as one that keeps files"
_TRIES = 3  # of a file that changes under our hands

Told = Callable[[int, int], None]


class Transferred(NamedTuple):
    """What was done; `resumed_bytes` were there already, `seconds` is how long the rest took."""

    place: str
    file: str
    size_bytes: int
    sha256: str
    resumed_bytes: int
    seconds: float


class Calls(Protocol):
    """The part of a client that is needed."""

    @property
    def waits_for_unlock(self) -> bool: ...

    async def call(
        self, target: str, method: str, /, *args: object, timeout_s: float = ..., idempotent: bool = ..., **more: object
    ) -> Any: ...

    def stream(
        self, target: str, method: str, /, *args: object, timeout_s: float = ..., **more: object
    ) -> AsyncGenerator[Any, None]: ...

    async def upload(
        self, target: str, method: str, data: AsyncIterable[bytes], /, *args: object, timeout_s: float = ...,
        **more: object,
    ) -> Any: ...  # fmt: skip


async def put_file(client: Calls, path: Path, place: RemotePath, patience_s: float, told: Told | None) -> Transferred:
    """Send a file; returns when it is on the host's disk under its name. Raises a CallError."""
    began = time.monotonic()
    with UploadSource(path) as source:
        sha256 = await source.digest()
        about = (place.name, source.size, sha256)
        progress = ResumeProgress(told)
        ask_s = min(patience_s, ASK_S)
        resumed: list[int] = []

        async def step() -> None:
            begun = await client.call(place.target, "begin_put", *about, timeout_s=ask_s, idempotent=True)
            offset, done = _whole(begun, "offset"), bool(begun.get("done"))
            resumed.append(offset)
            while not done:
                progress.set(offset, source.size)
                parts = _counted(source.parts(offset, SEGMENT_BYTES), offset, progress)
                answer = await client.upload(
                    place.target, "go_on_put", parts, *about, offset, timeout_s=SEGMENT_S
                )  # fmt: skip
                before, offset, done = offset, _whole(answer, "offset"), bool(answer.get("done"))
                if not done and offset <= before:
                    raise Failed(f"{place}: the host takes no bytes")
            progress.set(source.size, source.size)

        try:
            await steadily(step, progress, patience_s, lambda: client.waits_for_unlock)
        except Conflict:
            source.check()  # if it was changed meanwhile, that is the reason
            raise
        except NotFound as error:
            raise NotFound(
                f"cannot send to {place.target}: {error}; "
                "a component takes files if `tlsrt describe` shows its begin_put"
            ) from error
        return Transferred(str(place), str(path), source.size, sha256, resumed[0], round(time.monotonic() - began, 3))


def _whole(answer: Any, name: str) -> int:
    """Return a number of bytes out of an answer of the host."""
    value = answer.get(name) if isinstance(answer, dict) else None
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise Failed(NOT_ONE)
    return value


def _digest(answer: dict[str, Any]) -> str:
    """Return the SHA-256 out of an answer of the host; it will be part of a name on this machine."""
    value = answer.get("sha256")
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise Failed(NOT_ONE)
    return value


async def _counted(parts: AsyncIterator[bytes], offset: int, progress: ResumeProgress) -> AsyncIterator[bytes]:
    """Pass parts on; one counts when the next is asked for, for then it has been sent."""
    async for part in parts:
        yield part
        offset += len(part)
        progress.set(offset, progress.total)


async def get_file(client: Calls, place: RemotePath, path: Path, patience_s: float, told: Told | None) -> Transferred:
    """Fetch a file; returns when it is on this machine's disk under its name. Raises a CallError."""
    began = time.monotonic()
    progress = ResumeProgress(told)
    resumed: list[int] = []

    async def step() -> Transferred | None:
        there = await client.call(
            place.target, "stat", place.name, timeout_s=min(patience_s, ASK_S), idempotent=True
        )  # fmt: skip
        size, sha256 = _whole(there, "size_bytes"), _digest(there)
        with DownloadTarget(path, size, sha256) as destination:
            offset = await destination.resume()
            resumed.append(offset)
            destination.check_room()
            progress.set(offset, size)
            if offset < size:
                items = client.stream(place.target, "read_stream", place.name, offset, timeout_s=min(patience_s, ASK_S))
                async with aclosing(items) as closing:
                    async for data in closing:
                        if not isinstance(data, bytes) or destination.done + len(data) > size:
                            break  # it is another file by now
                        destination.write(data)
                        progress.set(destination.done, size)
            if not destination.finish():
                return None
        return Transferred(str(place), str(path), size, sha256, resumed[0], round(time.monotonic() - began, 3))

    for _ in range(_TRIES):
        result = await steadily(step, progress, patience_s, lambda: client.waits_for_unlock)
        if result is not None:
            return result
    raise Conflict(
        f"{place}: what came is not what was announced (other SHA-256), so {path} was not changed: try again"
    )
