"""Files are written whole or not at all, and a full disk is one sentence."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tlsrt.config.files import read_bounded, replace, sync_folder, write_new
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
