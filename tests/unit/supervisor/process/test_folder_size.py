"""How large a folder is that a captured program may have filled."""

from __future__ import annotations

import errno
import os
import resource
import tracemalloc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tlsrt.supervisor.process.folder_size import AT_ONCE, DEPTH_MOST, ENTRY_BYTES, measured

MOST = 1 << 30


def end_of(look: Generator[None, None, int]) -> tuple[int, int]:
    """Return what a look has found, and its steps."""
    steps = 0
    while True:
        try:
            next(look)
        except StopIteration as found:
            return int(found.value), steps
        steps += 1


def test_files_count_by_what_the_disk_holds_of_them_and_each_at_least_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data").write_bytes(b"x" * 100_000)
    (tmp_path / "empty").touch()
    with open(tmp_path / "sparse", "wb") as sparse:
        sparse.truncate(1 << 40)
    found, _ = end_of(measured(tmp_path, MOST))
    assert 100_000 + 3 * ENTRY_BYTES <= found < 200_000


def test_no_link_leads_out_and_a_second_name_is_no_second_file(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "data").write_bytes(b"x" * 1_000_000)
    (inside / "link").symlink_to(outside)
    (inside / "up").symlink_to("..")
    os.mkfifo(inside / "pipe")
    assert end_of(measured(inside, MOST))[0] == 3 * ENTRY_BYTES
    (inside / "first").write_bytes(b"x" * 1_000_000)
    for number in range(9):
        os.link(inside / "first", inside / f"name {number}")
    assert 1_000_000 <= end_of(measured(inside, MOST))[0] < 1_200_000


def test_what_is_too_much_in_bytes_number_or_depth_is_known_soon(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).touch()
    found, steps = end_of(measured(tmp_path, MOST))
    assert found == 1000 * ENTRY_BYTES and steps == 1000 // AT_ONCE
    found, steps = end_of(measured(tmp_path, 300 * ENTRY_BYTES))
    assert found > 300 * ENTRY_BYTES and steps <= 2
    deep = tmp_path / "deep"
    deep.mkdir()
    home = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chdir(deep)
        for _ in range(20 * DEPTH_MOST):
            os.mkdir("x" * 200)
            os.chdir("x" * 200)  # deeper than any path can say
    finally:
        os.fchdir(home)
        os.close(home)
    before = len(os.listdir("/proc/self/fd"))
    assert end_of(measured(deep, MOST))[0] == MOST + 1
    assert len(os.listdir("/proc/self/fd")) == before, "all is closed"


@contextmanager
def no_root_in(folder: Path) -> Iterator[None]:
    """Work in a folder as a user who passes no mode."""
    home = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    euid = os.geteuid()
    try:
        os.chdir(folder)
        if euid == 0:
            os.chown(folder, 65534, -1)
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(euid)
        os.fchdir(home)
        os.close(home)


@pytest.mark.parametrize("mode", [0, 0o400])  # not to be opened; to be read, with nothing known of what is in it
def test_a_folder_that_the_program_has_closed_to_us_is_too_much(tmp_path: Path, mode: int) -> None:
    with no_root_in(tmp_path):
        os.mkdir("a")
        Path("a", "data").touch()
        os.chmod("a", mode)
        assert end_of(measured(Path("."), MOST))[0] == MOST + 1
        assert end_of(measured(Path("a"), MOST))[0] == MOST + 1
        os.chmod("a", 0o700)
        assert end_of(measured(Path("."), MOST))[0] == 2 * ENTRY_BYTES


def test_many_folders_take_no_memory_and_the_last_step_is_as_short(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / str(number)).mkdir()
    tracemalloc.start()
    try:
        assert end_of(measured(tmp_path, MOST))[0] == 2000 * ENTRY_BYTES
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_without_descriptors_nothing_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = len(os.listdir("/proc/self/fd"))
    for room in (1, 2, 3):  # for a folder, its entries, and the next folder
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + room, hard))
        try:
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                end_of(measured(tmp_path, MOST))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_removed_meanwhile_is_no_error_and_no_folder_is_one(tmp_path: Path) -> None:
    for number in range(2 * AT_ONCE):
        (tmp_path / f"{number}").mkdir()
    look = measured(tmp_path, MOST)
    next(look)
    for number in range(2 * AT_ONCE):
        (tmp_path / f"{number}").rmdir()
    assert end_of(look)[0] <= 2 * AT_ONCE * ENTRY_BYTES
    with pytest.raises(FileNotFoundError):
        end_of(measured(tmp_path / "none", MOST))
