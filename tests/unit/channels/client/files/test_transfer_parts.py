"""The pure parts of transfers: places, the progress line, pauses; and the two files on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.cli.progress import Rate, line
from tlsrt.channels.client.files.download_target import DownloadTarget
from tlsrt.channels.client.files.remote_path import RemotePath, parse_place
from tlsrt.channels.client.files.resume import ResumeProgress, steadily
from tlsrt.channels.client.files.transfer import put_file
from tlsrt.channels.client.files.upload_source import UploadSource
from tlsrt.errors import Busy, Conflict, Denied, Failed, InvalidArgument, NotFound, Unavailable

DATA = os.urandom(3000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("text", "own", "place"),
    [
        ("third/io/a.b", "", RemotePath("third/io", "a.b")),
        ("third/io", "photo.jpg", RemotePath("third/io", "photo.jpg")),
        ("third/io/", "photo.jpg", RemotePath("third/io", "photo.jpg")),
        ("third/files/work/May 1/ä.jpg", "", RemotePath("third/files", "work/May 1/ä.jpg")),
    ],
)
def test_places(text: str, own: str, place: RemotePath) -> None:
    assert parse_place(text, own) == place


@pytest.mark.parametrize(
    ("text", "own", "sentence"),
    [
        ("third", "x", "a place is LOOP/COMPONENT/NAME"),
        ("/io", "x", "a place is"),
        ("third/io", "", "say which file"),
        ("third/io/../x", "", "no name of a file"),
        ("third/files/a//b", "", "no name of a file"),
        ("third/files/a/../b", "", "no name of a file"),
        ("third/files/a/b/", "", "no name of a file"),
        ("third/files/a/b\n", "", "no name of a file"),
        ("third/io/.x", "", "no name of a file"),
        ("third/io", "my photo.jpg", "cannot be a name there"),
    ],
)
def test_what_is_no_place(text: str, own: str, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        parse_place(text, own)


@given(st.text(max_size=80), st.integers(0, 1 << 45), st.integers(0, 1 << 45), st.floats(0, 1e12), st.integers(1, 300))
def test_the_line_fits_and_drives_no_terminal(name: str, done: int, total: int, rate: float, columns: int) -> None:
    shown = line(name, min(done, total), total, rate, columns)
    assert len(shown) < columns or (columns == 1 and not shown)
    assert all(character.isprintable() for character in shown)


def test_the_line() -> None:
    assert line("a.bin", 50 << 20, 100 << 20, 10 << 20, 90) == (
        "a.bin  [##############...............]  50 %  50.0 MiB of 100 MiB  10.0 MiB/s  5.0 s left"
    )


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    for second in range(20):
        told = rate.mark(float(second), 1000 * second)
    assert told == 1000
    for second in range(20, 30):
        told = rate.mark(float(second), 19_000)
    assert told == 0


def run_steadily(outcomes: list[Exception | str], patience_s: float = 5.0, *, moves: bool = True) -> str:
    async def run() -> str:
        progress = ResumeProgress(None)

        async def step() -> str:
            outcome = outcomes.pop(0)
            if moves:
                progress.set(progress.done + 1, 100)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return await steadily(step, progress, patience_s, lambda: False)

    return asyncio.run(run())


def test_what_passes_is_tried_again() -> None:
    assert run_steadily([Unavailable("x"), Busy("x"), "done"]) == "done"
    with pytest.raises(Denied):
        run_steadily([Unavailable("x"), Denied("no"), "done"])


def test_without_progress_it_ends() -> None:
    with pytest.raises(Unavailable):
        run_steadily([Unavailable("x")] * 1000, 0.3, moves=False)


def test_a_step_that_hangs_is_ended() -> None:
    async def run() -> None:
        await steadily(asyncio.Event().wait, ResumeProgress(None), 0.2, lambda: False)

    with pytest.raises(Unavailable, match="no byte has moved"):
        asyncio.run(run())


def test_a_source(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(DATA)

    async def use() -> None:
        with UploadSource(path) as source:
            assert (await source.digest(), source.size) == (SHA256, 3000)
            assert b"".join([part async for part in source.parts(100, 50)]) == DATA[100:150]
            path.write_bytes(DATA + b"!")
            with pytest.raises(Conflict, match="was changed while it was sent"):
                source.check()

    asyncio.run(use())
    os.mkfifo(tmp_path / "pipe")
    for name, sentence in (("pipe", "no file"), (".", "no file"), ("none", "no such file")):
        with pytest.raises(Failed, match=sentence):
            UploadSource(tmp_path / name)


def fetched(path: Path, data: bytes, *, size: int = 3000, sha256: str = SHA256) -> tuple[int, bool]:
    async def use() -> tuple[int, bool]:
        with DownloadTarget(path, size, sha256) as destination:
            offset = await destination.resume()
            destination.write(data[offset:])
            return offset, destination.finish() if len(data) == size else False

    return asyncio.run(use())


def test_a_destination_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    assert fetched(path, DATA[:1000]) == (0, False)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2
    assert fetched(path, DATA) == (1000, True)
    assert path.read_bytes() == DATA and list(tmp_path.iterdir()) == [path]
    assert fetched(path, DATA[:-1] + b"\0" if DATA[-1] else DATA[:-1] + b"\1") == (0, False)
    assert path.read_bytes() == DATA and list(tmp_path.iterdir()) == [path]


def test_an_older_content_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    fetched(path, b"older"[:3], size=5, sha256="0" * 64)
    (tmp_path / ".a.keep.part").touch()
    (tmp_path / f".b.{'0' * 16}.part").touch()
    assert fetched(path, DATA)[1]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".a.keep.part", f".b.{'0' * 16}.part", "a"]


def test_a_planted_part_is_not_written_to(tmp_path: Path) -> None:
    path, outside = tmp_path / "a", tmp_path / "outside"
    outside.write_bytes(b"mine")
    part = tmp_path / f".a.{SHA256[:16]}.part"
    part.symlink_to(outside)
    with pytest.raises(Failed, match="cannot write"):
        fetched(path, DATA)
    part.unlink()
    os.link(outside, part)
    with pytest.raises(Failed, match="not a file of ours"):
        fetched(path, DATA)
    assert outside.read_bytes() == b"mine"


def test_more_than_was_announced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="more bytes"):
        fetched(tmp_path / "a", DATA + b"!")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_at_once(tmp_path: Path) -> None:
    with DownloadTarget(tmp_path / "a", 1 << 60, SHA256) as destination, pytest.raises(Failed, match="the disk has"):
        destination.check_room()
    with pytest.raises(Failed, match="is a folder"):
        DownloadTarget(tmp_path, 1, SHA256)


class _KeepsNoFiles:
    """A host whose component has no method for files."""

    waits_for_unlock = False

    async def call(self, *_: object, **__: object) -> object:
        raise NotFound("no method 'begin_put'")

    def stream(self, *_: object, **__: object) -> AsyncGenerator[Any, None]:
        raise NotImplementedError

    async def upload(self, *_: object, **__: object) -> object:
        raise NotImplementedError


def test_a_component_that_takes_no_files_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(DATA)
    sentence = "cannot send to secondary/store: .*begin_put.*; a component takes files if `tlsrt describe` shows"
    with pytest.raises(NotFound, match=sentence):
        asyncio.run(put_file(_KeepsNoFiles(), file, RemotePath("secondary/store", "photo.jpg"), 1.0, None))
