"""The file of a backup: what was in a folder comes back, and nothing but a whole file is taken."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import ConfigError
from tlsrt.supervisor.archive import state_file
from tlsrt.supervisor.archive.state_file import (
    Changed,
    Head,
    checked_path,
    read_head_untrusted,
    read_state_untrusted,
    stamps,
    write_state,
)

HEAD = Head("third/kettle", "kettle", "0.1", "2026-11-28T00:00:00+00:00")
GIB = 1 << 30
IDS = (os.getuid(), os.getgid())


def written(folder: Path) -> tuple[bytes, list[str]]:
    out = io.BytesIO()
    left = write_state(out, HEAD, folder)
    return out.getvalue(), left


def test_what_was_there_comes_back(tmp_path: Path) -> None:
    state, back = tmp_path / "state", tmp_path / "back"
    (state / "deep" / "er").mkdir(parents=True)
    (state / "empty").touch()
    (state / "deep" / "er" / "a\nb").write_bytes(b"\0{}\n" * 1000)
    with open(state / "sparse", "wb") as file:  # 1 GiB with two pieces of data
        file.write(b"begin")
        file.seek(GIB - 3)
        file.write(b"end")
    (state / "link").symlink_to("/etc/passwd")
    os.mkfifo(state / "pipe")
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(state / "socket"))
        data, left = written(state)
    assert len(data) < 1 << 20
    assert left == ["link (a link)", "pipe (a pipe)", "socket (a socket)"]
    back.mkdir()
    whole = io.BytesIO(data)
    assert read_head_untrusted(whole, "it") == HEAD
    read_state_untrusted(whole, back, *IDS)
    assert sorted(stamps(back)) == ["deep", "deep/er", "deep/er/a\nb", "empty", "sparse"]
    assert (back / "deep" / "er" / "a\nb").read_bytes() == b"\0{}\n" * 1000
    sparse = (back / "sparse").stat()
    assert sparse.st_size == GIB and sparse.st_blocks * 512 < 1 << 20
    with open(back / "sparse", "rb") as large:
        assert large.read(5) == b"begin"
        large.seek(GIB - 4)
        assert large.read() == b"\0end"


def test_only_a_whole_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"state")
    data, _ = written(tmp_path)
    for end in range(len(data)):
        with pytest.raises(ConfigError, match=r"is damaged|is no backup"):
            read_head_untrusted(io.BytesIO(data[:end]), "it")
    for at in range(len(data)):
        with pytest.raises(ConfigError, match=r"is damaged|is no backup"):
            read_head_untrusted(io.BytesIO(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]), "it")
    with pytest.raises(ConfigError, match="is damaged"):
        read_head_untrusted(io.BytesIO(data + b"more"), "it")


LIES: list[object] = [
    {"path": "../out", "kind": "folder"}, {"path": "/etc/x", "kind": "folder"}, {"path": "a/../../b", "kind": "folder"},
    {"path": "a\0b", "kind": "folder"}, {"path": 3, "kind": "folder"}, {"kind": "folder"}, {"path": ""},
    {"path": "a", "kind": "file", "size": -1}, {"path": "a", "kind": "file", "size": "many"},
    {"path": "a", "kind": "file", "size": 5, "extents": [[0, 50]]},
    {"path": "a", "kind": "file", "size": 5, "extents": [[-4, 5]]},
    {"path": "a", "kind": "file", "size": 5, "extents": [["x"]]},
    {"path": "a", "kind": "file", "size": 9, "extents": [[0, 9]]}, {"path": "a", "kind": "file", "size": 1 << 63},
    {"path": "a\ud800", "kind": "folder"}, [], {"path": "b", "kind": "name", "as": "kept"},
    {"path": "b", "kind": "name", "as": "../out"}, {"path": "b", "kind": "name"},
    {"path": "b", "kind": "folder", "of": "main"}, {"path": "b", "kind": "folder", "of": ["main"]},
]  # fmt: skip


def test_a_line_that_nests_without_end_is_refused() -> None:
    body = b"tlsrt component state 1\n" + b"[" * 100_000 + b"\n"
    with pytest.raises(ConfigError, match="has a line that cannot be read"):
        read_head_untrusted(io.BytesIO(body + hashlib.sha256(body).digest()), "it")


@pytest.mark.parametrize("what", ["removed", "file", "link", "shorter", "pipe"])
def test_what_changes_while_it_is_read_is_told_as_such(tmp_path: Path, what: str) -> None:
    state, deep, outside = tmp_path / "state", tmp_path / "state" / "deep", tmp_path / "outside"
    deep.mkdir(parents=True)
    outside.mkdir()
    (deep / "a").write_bytes(b"x")
    (deep / "b").write_bytes(b"x" * 100)

    def happens() -> None:
        if what == "shorter":
            os.truncate(deep / "b", 10)
            return
        deep.rename(tmp_path / "gone")
        if what == "link":
            deep.symlink_to(outside)
        elif what == "file":
            deep.touch()
        elif what == "pipe":
            deep.mkdir()
            os.mkfifo(deep / "b")

    class Out(io.BytesIO):
        def write(self, data: Any, /) -> int:
            mark = b'"deep/b"' if what == "shorter" else b'"deep/a"'
            if mark in data:
                happens()
            return super().write(data)

    with pytest.raises(Changed):
        write_state(Out(), HEAD, state)


def test_many_extents_are_told_as_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "_EXTENTS_MOST", 4)
    (tmp_path / "state").mkdir()
    with open(tmp_path / "state" / "a", "wb") as file:
        for at in range(11):
            file.seek(at << 20)
            file.write(b"%d" % at)
    data, _ = written(tmp_path / "state")
    listed = json.loads(data.splitlines()[2])["extents"]
    assert 0 < len(listed) <= 4
    whole = io.BytesIO(data)
    read_head_untrusted(whole, "it")
    (tmp_path / "back").mkdir()
    read_state_untrusted(whole, tmp_path / "back", *IDS)
    assert (tmp_path / "back" / "a").read_bytes() == (tmp_path / "state" / "a").read_bytes()


def test_what_a_captured_program_has_made_of_its_folder_comes_back_without_the_traps(tmp_path: Path) -> None:
    own, program, back, of_program = (tmp_path / name for name in ("own", "program", "back", "of_program"))
    for folder in (own, program, back, of_program):
        folder.mkdir()
    (own / "data").write_bytes(b"own")
    (program / "data").write_bytes(b"x" * 100_000)
    for number in range(500):  # 50 MB, if each name were a file
        os.link(program / "data", program / f"name {number}")
    (program / "up").symlink_to("..")
    (program / "secret").symlink_to("/etc/shadow")
    os.mkfifo(program / "pipe")
    with open(program / "vast", "wb") as vast:
        vast.truncate(1 << 42)
    out = io.BytesIO()
    left = write_state(out, HEAD, own, {"main": program})
    assert left == [
        "pipe (a pipe of the program main)", "secret (a link of the program main)", "up (a link of the program main)"
    ]  # fmt: skip
    assert len(out.getvalue()) < 400_000
    assert read_head_untrusted(out, "it") == HEAD
    read_state_untrusted(out, back, *IDS, {"main": (of_program, *IDS)})
    assert [one.name for one in back.iterdir()] == ["data"] and (back / "data").read_bytes() == b"own"
    first = (of_program / "data").stat()
    assert first.st_nlink == 501 and first.st_size == 100_000
    assert (of_program / "name 77").stat().st_ino == first.st_ino
    vast_back = (of_program / "vast").stat()
    assert vast_back.st_size == 1 << 42 and vast_back.st_blocks * 512 < 1 << 20


@given(st.lists(st.integers(1, 1 << 40), min_size=2, max_size=99, unique=True))
def test_half_as_many_extents_hold_the_same(ends: list[int]) -> None:
    edges = sorted(ends)[: len(ends) // 2 * 2]
    extents = [(start, end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    found = state_file.halved(extents)
    assert len(found) == (len(extents) + 1) // 2
    assert all(any(at <= a and a + b <= at + length for at, length in found) for a, b in extents)
    assert all(one[0] + one[1] < other[0] for one, other in pairwise(found))


@pytest.mark.parametrize("entry", LIES)
def test_a_file_that_lies_writes_nothing_outside(tmp_path: Path, entry: object) -> None:
    head = b'{"component": "a/b", "package": "p", "version": "1", "made": "x"}\n'
    body = b"tlsrt component state 1\n" + head + json.dumps(entry).encode() + b"\n"
    file = io.BytesIO(body + hashlib.sha256(body).digest())
    read_head_untrusted(file, "it")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "kept").touch()
    with pytest.raises(ConfigError):
        read_state_untrusted(io.BytesIO(file.getvalue()[file.tell() : -32]), inside, *IDS)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


@given(st.text())
def test_a_path_stays_below(path: str) -> None:
    try:
        checked = checked_path(path)
    except ConfigError:
        return
    assert os.path.normpath(os.path.join("/a/b", checked)).startswith("/a/b/")


@given(st.binary())
def test_any_bytes_are_a_head_or_the_one_error(data: bytes) -> None:
    body = b"tlsrt component state 1\n" + data
    for tried in (data, body, body + hashlib.sha256(body).digest()):
        try:
            read_head_untrusted(io.BytesIO(tried), "it")
        except ConfigError:
            continue
