"""Files and notices: names that attack, links, quotas, broken uploads, and what a crash leaves."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, cast

import pytest

from tlsrt.errors import Busy, CallError, ConfigError, Denied, Failed, InvalidArgument, NotFound
from tlsrt.loops.component.component import attach
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.disk_thread import DiskWork
from tlsrt.loops.third.folder import WRITERS, WRITERS_SHARE, Folder, Quota
from tlsrt.loops.third.io import NOTICES, READ_BYTES, InputOutput
from tlsrt.loops.third.readers import CHUNK_BYTES, READERS, READERS_SHARE

ATTACKS = [
    "../secret", "..", ".", "/etc/passwd", "a/b", "a/../../secret", "", ".part-1", ".hidden", "-rf", "a\0b", "a\nb",
    "ä", "a" * 128, "..\\secret", "%2e%2e", "a b", "\ud800", "files/../../secret", "link/secret",
]  # fmt: skip
METHODS: list[tuple[str, list[object]]] = [
    ("read", []), ("read_text", []), ("write", ["x"]), ("append", ["x"]), ("delete", []),
]  # fmt: skip


class Bench:
    """A started component and short ways to call it."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.io = InputOutput()
        self.files = folder / "files"
        log = logging.getLogger("io")
        attach(self.io, address="third/io", options=options, state=folder, log=log, port=cast("Any", None))
        asyncio.run(self.io.start())

    def __call__(self, method: str, *args: object, subject: str = "client/a", **kwargs: object) -> Any:
        async def once() -> object:
            try:
                return await cast("Awaitable[object]", invoke(self.io, method, args, kwargs, subject=subject))
            finally:
                await self.settle()

        return asyncio.run(once())

    def stream(self, method: str, *args: object, subject: str = "client/a") -> AsyncGenerator[Any, None]:
        return cast("AsyncGenerator[Any, None]", invoke(self.io, method, args, {}, subject=subject))

    def upload(self, name: str, chunks: AsyncIterator[bytes]) -> Any:
        async def once() -> object:
            work = invoke(self.io, "write_stream", [name], {}, subject="client/a", upload=chunks)
            try:
                return await cast("Awaitable[object]", work)
            finally:
                await self.settle()

        return asyncio.run(once())

    async def settle(self) -> None:
        """Wait until the disk thread has given back what is not used any more."""
        await self.io._disk.run_last(DiskWork(int))

    def stop(self) -> None:
        asyncio.run(self.io.stop())


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    (tmp_path / "secret").write_text("secret")
    made = Bench(tmp_path, total_bytes=1 << 20, file_bytes=1 << 19, files=8)
    yield made
    made.stop()


def test_files_are_written_read_listed_and_removed(bench: Bench) -> None:
    assert bench("write", "a.txt", "ä") == 2
    assert bench("append", "a.txt", b"!") == 3
    assert bench("append", "b", "new") == 3
    assert bench("read", "a.txt") == b"\xc3\xa4!"
    assert bench("read", "a.txt", 2, 5) == b"!"
    assert bench("read", "a.txt", 99) == b""
    assert bench("read_text", "a.txt") == "ä!"
    listed = bench("list")
    assert [(entry["name"], entry["size_bytes"]) for entry in listed] == [("a.txt", 3), ("b", 3)]
    assert [entry["name"] for entry in bench("list", "a.txt")] == ["b"]
    assert len(bench("list", limit=1)) == 1
    bench("delete", "a.txt")
    for method in ("read", "delete", "read_text"):
        with pytest.raises(NotFound, match=r"no file a\.txt"):
            bench(method, "a.txt")


def test_write_replaces_and_leaves_nothing_behind(bench: Bench) -> None:
    bench("write", "a", "long content")
    bench("write", "a", "x")
    assert bench("read", "a") == b"x"
    assert os.listdir(bench.files) == ["a"]
    assert (bench.files / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ATTACKS)
def test_names_lead_nowhere(bench: Bench, tmp_path: Path, name: str) -> None:
    (bench.files / "link").symlink_to(tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for method, rest in METHODS:
        with pytest.raises(InvalidArgument, match=r"^name: "):
            bench(method, name, *rest)

    async def first() -> None:
        with pytest.raises(InvalidArgument, match=r"^name: "):
            await anext(bench.stream("read_stream", name))

    asyncio.run(first())
    with pytest.raises(InvalidArgument, match=r"^name: "):
        bench.upload(name, parts(b"x"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert (tmp_path / "secret").read_text() == "secret"


def test_links_pipes_and_folders_are_not_followed(bench: Bench, tmp_path: Path) -> None:
    (bench.files / "soft").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", bench.files / "hard")
    os.mkfifo(bench.files / "pipe")
    (bench.files / "folder").mkdir()
    for name in ("soft", "hard", "pipe", "folder"):
        for method in ("read", "read_text"):
            with pytest.raises(Denied, match=f"{name} is not a regular file"):
                bench(method, name)
    for name in ("soft", "hard", "pipe"):
        bench("append", name, "x")
        bench("write", name, "mine now")
        assert bench("read", name) == b"mine now", "replaced, not followed"
    for method, rest in (("write", ["x"]), ("delete", [])):
        with pytest.raises(CallError):
            bench(method, "folder", *rest)
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_link_swapped_in_under_a_known_file_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    bench("write", "a", "x")
    (bench.files / "a").unlink()
    (bench.files / "a").symlink_to(tmp_path / "secret")
    for method, rest in (("append", ["y"]), ("read", [])):
        with pytest.raises(Denied):
            bench(method, "a", *rest)
    assert (tmp_path / "secret").read_text() == "secret"


def test_the_folder_itself_may_not_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "files").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"directory|links"):
        Folder(tmp_path / "files", Quota(1, 1, 1))


async def parts(*chunks: Any, error: Exception | None = None) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


def test_streams_carry_more_than_one_answer_could(bench: Bench) -> None:
    data = os.urandom(READ_BYTES + 1000)
    assert bench.upload("big", parts(data[:1000], b"", data[1000:])) == len(data)
    assert bench("read", "big") == data[:READ_BYTES]
    with pytest.raises(InvalidArgument, match="use read_stream"):
        bench("read_text", "big")

    async def all_of_it() -> list[bytes]:
        return [chunk async for chunk in bench.stream("read_stream", "big")]

    chunks = asyncio.run(all_of_it())
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) == CHUNK_BYTES


def test_a_reader_sees_one_version(bench: Bench) -> None:
    old, new = b"o" * (3 * CHUNK_BYTES), b"n" * (3 * CHUNK_BYTES)
    bench("write", "a", old)

    async def scene() -> bytes:
        stream = bench.stream("read_stream", "a")
        found: bytes = await anext(stream)
        await cast("Awaitable[object]", invoke(bench.io, "write", ["a", new], {}, subject="client/b"))
        return found + b"".join([chunk async for chunk in stream])

    assert asyncio.run(scene()) == old
    assert bench("read", "a") == new


@pytest.mark.parametrize("error", [RuntimeError("gone"), Failed("gone")])
def test_a_broken_upload_leaves_the_old_content(bench: Bench, error: Exception) -> None:
    bench("write", "a", "old")
    with pytest.raises(type(error)):
        bench.upload("a", parts(b"new", error=error))
    with pytest.raises(InvalidArgument, match=r"data\[1\]: expected bytes"):
        bench.upload("a", parts(b"new", "text"))
    assert bench("read", "a") == b"old"
    assert os.listdir(bench.files) == ["a"]
    assert bench.io._folder.used_bytes == 3


def test_quotas_hold_for_every_way_in(tmp_path: Path) -> None:
    bench = Bench(tmp_path, total_bytes=100, file_bytes=60, files=2)
    bench("write", "a", b"x" * 60)
    for method in ("write", "append"):
        with pytest.raises(Failed, match="larger than 60 bytes"):
            bench(method, "b", b"x" * 61)
        with pytest.raises(Failed, match="100 bytes is the limit for all"):
            bench(method, "b", b"x" * 41)
    with pytest.raises(Failed, match="larger than 60"):
        bench("append", "a", b"x")
    with pytest.raises(Failed, match="100 bytes"):
        bench.upload("b", parts(b"x" * 30, b"x" * 30))
    bench("write", "b", b"x" * 40)
    for method in ("write", "append"):
        with pytest.raises(Failed, match="2 files is the limit"):
            bench(method, "c", b"")
    bench("delete", "b")
    bench("append", "c", b"x" * 40)
    assert sorted(os.listdir(bench.files)) == ["a", "c"]
    bench.stop()
    again = Bench(tmp_path, total_bytes=100, file_bytes=60, files=2)
    assert again.io._folder.used_bytes == 100, "counted again after a restart"
    again.stop()


def test_open_files_are_bounded(bench: Bench) -> None:
    bench("write", "a", b"x")
    folder = bench.io._folder

    async def too_many_readers() -> None:
        streams = [bench.stream("read_stream", "a", subject=f"client/{n // READERS_SHARE}") for n in range(READERS)]
        for number, stream in enumerate(streams):
            if number == READERS_SHARE:
                with pytest.raises(Busy):  # at its share, where others still get in
                    await anext(bench.stream("read_stream", "a", subject="client/0"))
            await anext(stream)
        with pytest.raises(Busy):
            await anext(bench.stream("read_stream", "a", subject="client/new"))
        for stream in streams:
            await stream.aclose()
        await bench.stream("read_stream", "a").aclose()
        await bench.settle()

    descriptors = len(os.listdir("/proc/self/fd"))
    asyncio.run(too_many_readers())
    assert len(bench.io._readers) == 0
    writers = [folder.writer("a", "client/0") for _ in range(WRITERS_SHARE)]
    with pytest.raises(Busy):
        folder.writer("a", "client/0")
    writers += [folder.writer("a", f"client/{1 + n // WRITERS_SHARE}") for n in range(WRITERS - WRITERS_SHARE)]
    with pytest.raises(Busy):
        folder.writer("a", "client/new")
    assert folder.write("a", b"y") == 1, "what is over at once needs no place"
    for writer in writers:
        writer.abort()
        writer.abort()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert os.listdir(bench.files) == ["a"]


def test_a_stream_takes_a_writer_with_its_first_chunk(bench: Bench) -> None:
    async def silent(begun: asyncio.Event) -> AsyncIterator[bytes]:
        begun.set()
        await asyncio.Event().wait()
        yield b""

    async def scene() -> None:
        events = [asyncio.Event() for _ in range(WRITERS + 1)]
        uploads = [
            asyncio.ensure_future(
                cast("Any", invoke(bench.io, "write_stream", [f"f{n}"], {}, subject="client/a", upload=silent(begun)))
            )
            for n, begun in enumerate(events)
        ]
        for begun in events:
            async with asyncio.timeout(10):
                await begun.wait()
        await bench.settle()
        assert os.listdir(bench.files) == []
        for upload in uploads:
            upload.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)

    asyncio.run(scene())


def test_stop_ends_uploads_that_still_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    writer = bench.io._folder.writer("a", "client/a")
    writer.write(b"x")
    bench.stop()
    with pytest.raises(Failed, match="closed"):
        writer.write(b"y")
    assert os.listdir(bench.files) == []


def test_what_a_crash_left_is_removed_at_start(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/.part-1").write_bytes(b"half")
    (tmp_path / "files/whole").write_bytes(b"1234")
    bench = Bench(tmp_path)
    assert os.listdir(bench.files) == ["whole"]
    assert [entry["name"] for entry in bench("list")] == ["whole"]
    bench.stop()


FULL_DISK = """
import resource, sys
from pathlib import Path
from tlsrt.errors import Failed
from tlsrt.loops.third.folder import Folder, Quota
folder = Folder(Path(sys.argv[1]), Quota(1 << 30, 1 << 30, 10))
folder.write("a", b"x" * 900)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for change in (folder.append, folder.write):
    try:
        change("a", b"y" * 2000)
    except Failed as error:
        assert error.message == "the disk is full: a was not changed", error.message
    else:
        raise SystemExit("not refused")
    assert folder.read("a", 0, 5000) == b"x" * 900
    assert folder.used_bytes == 900
"""


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "files")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stderr
    assert os.listdir(tmp_path / "files") == ["a"]


def test_text_that_is_none_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidArgument, match="not valid Unicode"):
        bench("write", "a", "\ud800")
    bench("write", "a", b"\xff")
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        bench("read_text", "a")


def test_notices_are_kept_published_and_bounded(bench: Bench) -> None:
    events = bench.io._pubsub.subscribe("notice")
    assert bench("notify", "warning", "paper low", subject="third/printer") == 1
    notice = bench("notices")[0]
    assert (notice["level"], notice["text"], notice["sender"]) == ("warning", "paper low", "third/printer")
    assert asyncio.run(_first(events)) == notice
    for number in range(NOTICES + 10):
        bench("notify", "info", f"{number}")
    assert len(bench.io._notices) == NOTICES
    assert [entry["number"] for entry in bench("notices", NOTICES + 9, 5)] == [NOTICES + 10, NOTICES + 11]
    assert len(bench("notices")) == 50
    with pytest.raises(InvalidArgument, match=r"^level: expected 'info' | 'warning' | 'error', got 'loud'"):
        bench("notify", "loud", "x")
    with pytest.raises(InvalidArgument, match=r"^text: expected a length"):
        bench("notify", "info", "x" * 2001)


async def _first(events: AsyncIterator[Any]) -> Any:
    return await anext(events)


def test_wrong_options_are_told_at_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"third/io: option files: expected a number in 1\.\.100000"):
        Bench(tmp_path, files=0)
    with pytest.raises(ConfigError, match="unknown option quota"):
        Bench(tmp_path, quota=1)


@pytest.mark.parametrize(
    ("call", "is_folder", "code"),
    [
        (("write", "f", "new"), True, "outcome_unknown"),
        (("write", "f", "new"), False, "failed"),
        (("append", "f", "new"), False, "outcome_unknown"),
        (("delete", "f"), True, "outcome_unknown"),
    ],
)
def test_what_the_disk_did_not_confirm_is_not_called_unchanged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, call: tuple[str, ...], is_folder: bool, code: str
) -> None:
    bench("write", "f", "old")
    fsync = os.fsync

    def fails(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) is is_folder:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(CallError) as caught:
            bench(*call)
    assert caught.value.code == code
    if call[0] == "append" or code == "failed":
        assert bench("read", "f") == b"old"
    elif call[0] == "write":
        assert bench("read", "f") == b"new" and bench.io._folder.used_bytes == 3
    else:
        assert bench("list") == []
    bench("write", "f", "newer")
    assert bench("read", "f") == b"newer"


def test_a_slow_disk_holds_up_neither_the_event_loop_nor_what_needs_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    begun, may_go_on = threading.Event(), threading.Event()
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        begun.set()
        assert may_go_on.wait(30)
        fsync(descriptor)

    async def call(method: str, *args: object) -> Any:
        return await cast("Awaitable[object]", invoke(bench.io, method, args, {}, subject="client/a"))

    async def scene() -> None:
        writing = asyncio.create_task(call("write", "f", "x"))
        await asyncio.to_thread(begun.wait, 10)
        assert await call("notify", "info", "the disk is slow") == 1
        assert bench.io.disk_threads[0].waits_s() > 0 and not writing.done()
        assert await bench.io.healthy() is None, "a disk that is slow is no fault of the component"
        may_go_on.set()
        assert await writing == 1

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", slow)
        asyncio.run(scene())
    bench.stop()


def test_hashes_of_one_caller_are_not_in_the_way_of_another(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number in range(12):
        (bench.files / f"large{number}").write_bytes(bytes(2 << 20))
    bench("write", "small", "x")

    async def call(name: str, subject: str) -> Any:
        return await cast("Awaitable[object]", invoke(bench.io, "stat", [name], {}, subject=subject))

    async def scene() -> None:
        greedy = [asyncio.create_task(call(f"large{number}", "client/a")) for number in range(12)]
        await asyncio.sleep(0)
        assert (await call("small", "client/b"))["size_bytes"] == 1
        assert sum(task.done() for task in greedy) <= 4, "each took its turn"
        await asyncio.gather(*greedy)
        await bench.settle()

    asyncio.run(scene())
    bench.stop()
