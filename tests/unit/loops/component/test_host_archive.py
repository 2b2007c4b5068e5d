"""An archive of the host on its way: all of it, or an error that says that it is none."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from threading import Thread

import pytest

from tlsrt import Failed, HostArchive
from tlsrt.supervisor.archive.sealed_archive import PIECE, SealedHead, seal

OUT = io.BytesIO()
seal(
    io.BytesIO(os.urandom(2 * PIECE + 5)), bytes(32), SealedHead("00" * 16, "2026-12-01T03:30:00", "00" * 16), OUT.write
)
WHOLE = OUT.getvalue()


def read(data: bytes, sizes: Sequence[int]) -> bytes:
    """Read data that comes through a pipe in pieces of these sizes, and then what is left."""
    reader, writer = os.pipe()

    def say() -> None:
        at = 0
        for size in [*sizes, len(data)]:
            view = memoryview(data)[at : at + size]
            at += len(view)
            while view:
                view = view[os.write(writer, view) :]
        os.close(writer)

    thread = Thread(target=say)
    thread.start()
    try:
        with HostArchive(reader) as archive:
            return b"".join(archive.pieces())
    finally:
        thread.join()


@pytest.mark.parametrize("sizes", [[], [1] * 300, [27], [100, 4, PIECE], [len(WHOLE) - 4, 1, 1, 1]])
def test_all_of_it_comes_however_the_pipe_cuts_it(sizes: list[int]) -> None:
    assert read(WHOLE, sizes) == WHOLE


@pytest.mark.parametrize("at", [0, 1, 26, 27, 60, 200, PIECE, len(WHOLE) - 5, len(WHOLE) - 4, len(WHOLE) - 1])
def test_what_is_cut_off_is_told(at: int) -> None:
    with pytest.raises(Failed, match="cut off"):
        read(WHOLE[:at], [])


@pytest.mark.parametrize("data", [b"another file\n" * 200, WHOLE[:27] + b"x" * 2000, WHOLE + b"x"])
def test_what_is_no_archive_is_told(data: bytes) -> None:
    with pytest.raises(Failed, match=r"no archive|behind the end"):
        read(data, [])


def test_it_shows_nothing_and_closes_twice() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    archive = HostArchive(reader)
    assert repr(archive) == "<HostArchive, sealed>"
    archive.close()
    archive.close()
