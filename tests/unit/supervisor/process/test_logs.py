"""What is read of a log for people: words of a process that may be captured."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlsrt.sandbox import syscalls
from tlsrt.supervisor.process.exit_reason import said_by
from tlsrt.supervisor.process.logs import last_words

LOGGED = "2026-11-28 00:50:48,091 ERROR third.absent: "


@given(data=st.binary(max_size=9000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_last_words_are_one_short_printable_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(data)
    words = last_words(str(path))
    assert words.isprintable() and len(words) <= 400
    assert said_by(words).isprintable()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (f"first\n{LOGGED}no water\n", "no water"),
        (f"{LOGGED}no water", "no water"),
        (f"{LOGGED}{LOGGED}x\n", f"{LOGGED}x"),
        ("Traceback\n\x1b[2J\x07\u202eevil\r\n\n\n", "\\x1b[2J\\x07\\u202eevil\\r"),
        ("", ""),
        ("\n\n", ""),
    ],
)
def test_it_is_the_last_line_without_what_logging_puts_before_it(tmp_path: Path, written: str, words: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(written.encode())
    assert last_words(str(path)) == words


def test_megabytes_are_read_from_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "log", list[int]()
    path.write_bytes(b"y" * (4 << 20))
    real = os.preadv

    def preadv(descriptor: int, buffers: list[bytearray], offset: int, flags: int = 0) -> int:
        read.append(sum(map(len, buffers)))
        return real(descriptor, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", preadv)
    assert last_words(str(path)) == "y" * 399 + "…" and read[-1] == 4096


def test_no_link_is_followed_and_no_pipe_or_folder_read(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("secret\n")
    (tmp_path / "link").symlink_to(tmp_path / "log")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "missing", "."):
        assert last_words(str(tmp_path / name)) == ""


def test_what_is_not_in_memory_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = tmp_path / "log", list[int]()
    path.write_text("late\n")
    real = os.preadv

    def preadv(descriptor: int, buffers: list[bytearray], offset: int, flags: int = 0) -> int:
        asked.append(flags)
        if flags:
            raise OSError(error, os.strerror(error))
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    error = errno.EAGAIN
    assert last_words(str(path)) == "" and asked == [os.RWF_NOWAIT]
    error = errno.EOPNOTSUPP  # a file system of a network, or one in memory
    monkeypatch.setattr(syscalls, "is_in_memory", lambda descriptor: False)
    assert last_words(str(path)) == ""
    monkeypatch.setattr(syscalls, "is_in_memory", lambda descriptor: True)
    assert last_words(str(path)) == "late"


def test_a_file_in_memory_is_known_as_one(tmp_path: Path) -> None:
    memory = os.memfd_create("memory")
    with open(tmp_path / "file", "w") as file:
        found = syscalls.is_in_memory(memory), syscalls.is_in_memory(file.fileno())
    os.close(memory)
    assert found[0] and (not found[1] or b"tmpfs" in Path("/proc/mounts").read_bytes())
