"""Files are written whole or not at all, and a full disk is one sentence."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tlsrt.config.files import (
    create_in,
    open_folder,
    read_bounded,
    read_up_to,
    rename_in,
    replace,
    sync_folder,
    write_all,
    write_new,
)
from tlsrt.errors import ConfigError


@contextmanager
def full_disk() -> Iterator[None]:
    """A real write that fails half-way: no file may grow over 100 bytes. Kept short: pytest may log to a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_write_new_sets_the_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        write_new(tmp_path / "a", b"data", 0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "a").read_bytes() == b"data"


def test_a_half_written_file_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught, full_disk():
        write_new(tmp_path / "a", b"x" * 200, 0o600)
    assert caught.value.problems == (f"cannot write {tmp_path / 'a'}: File too large",)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replace_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ConfigError, match=r"cannot write .*: File too large"), full_disk():
        replace(tmp_path / "a", b"x" * 200, 0o600)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_replace(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    replace(tmp_path / "a", b"new", 0o600)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"new")]
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"cannot replace .*/folder: Is a directory"):
        replace(tmp_path / "folder", b"new", 0o600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]


def test_read_bounded(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bounded(tmp_path / "a", 5, "the file") == b"12345"
    with pytest.raises(ConfigError, match=r"the file .*/a is larger than 4 bytes"):
        read_bounded(tmp_path / "a", 4, "the file")
    with pytest.raises(ConfigError, match=r"cannot read .*/b: No such file or directory"):
        read_bounded(tmp_path / "b", 4, "the file")


def test_sync_folder_of_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write .*/no: No such file or directory"):
        sync_folder(tmp_path / "no")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = open_folder(tmp_path)
    yield descriptor
    os.close(descriptor)


def test_a_file_in_an_open_folder_is_made_beside_the_old_one_and_takes_its_place(tmp_path: Path, folder: int) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"of a try that was cut off")
    os.close(create_in(folder, "new", b"content"))
    assert (tmp_path / "file").read_bytes() == b"old" and (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    rename_in(folder, "new", "file")
    assert (tmp_path / "file").read_bytes() == b"content" and os.listdir(tmp_path) == ["file"]


def test_a_full_disk_in_an_open_folder_leaves_the_old_file(tmp_path: Path, folder: int) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with full_disk(), pytest.raises(OSError, match="too large"):
        create_in(folder, "new", b"x" * 200)
    assert (tmp_path / "file").read_bytes() == b"old"
    os.close(create_in(folder, "new", b"y"))
    assert (tmp_path / "new").read_bytes() == b"y"


def test_an_open_folder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    os.close(open_folder(tmp_path / "link"))
    with pytest.raises(NotADirectoryError):
        open_folder(tmp_path / "link", follow=False)


def test_a_pipe_takes_all_of_it_in_pieces() -> None:
    reader, writer = os.pipe()
    data = os.urandom(200_000)
    found = bytearray()

    def read() -> None:
        while piece := os.read(reader, 1000):
            found.extend(piece)

    thread = Thread(target=read)
    thread.start()
    write_all(writer, data)
    os.close(writer)
    thread.join()
    os.close(reader)
    assert found == data


def test_so_many_bytes_are_read_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    assert read_up_to(descriptor, 4) == b"abcd" and read_up_to(descriptor, 100) == b"abcdef"
    os.close(descriptor)
