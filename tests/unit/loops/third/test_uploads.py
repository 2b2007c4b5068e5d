"""Unfinished files: where they go on, who may, what bounds them, and that no wrong byte gets a name."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.errors import Busy, Conflict, Denied, Failed, InvalidArgument
from tlsrt.loops.component.component import attach
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.disk_thread import DiskWork
from tlsrt.loops.third import uploads
from tlsrt.loops.third.io import InputOutput

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()
ABOUT = ("a.bin", len(DATA), SHA256)


class Bench:
    """A started component."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.io = InputOutput()
        self.later: list[Bench] = []
        self.files = folder / "files"
        log = logging.getLogger("io")
        attach(self.io, address="third/io", options=options, state=folder, log=log, port=cast("Any", None))
        asyncio.run(self.io.start())

    def __call__(self, method: str, *args: object, data: bytes | None = None, subject: str = "client/a") -> Any:
        async def once() -> object:
            upload = pieces(data) if data is not None else None
            work = invoke(self.io, method, args, {}, subject=subject, upload=upload)
            try:
                return await cast("Awaitable[object]", work)
            finally:
                await self.io._disk.run_last(DiskWork(int))  # what is not used any more has been given back

        return asyncio.run(once())

    def offset(self, *about: object, subject: str = "client/a") -> int:
        return int(self("begin_put", *(about or ABOUT), subject=subject)["offset"])

    @property
    def hidden(self) -> list[str]:
        return [name for name in os.listdir(self.files) if name.startswith(".")]

    def anew(self) -> Bench:
        """Another life of the loop."""
        asyncio.run(self.io.stop())
        self.later.append(Bench(self.files.parent, total_bytes=1 << 20, file_bytes=1 << 19, files=8))
        return self.later[-1]

    def stop(self) -> None:
        """End the last life."""
        if self.later:
            self.later[-1].stop()
        else:
            asyncio.run(self.io.stop())


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 1000):
        yield data[at : at + 1000]


async def broken(data: bytes) -> AsyncIterator[bytes]:
    yield data
    raise ConnectionError


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, total_bytes=1 << 20, file_bytes=1 << 19, files=8)
    yield made
    made.stop()


def test_in_one_go_and_again(bench: Bench) -> None:
    assert bench("begin_put", *ABOUT) == {"offset": 0, "done": False}
    assert bench("go_on_put", *ABOUT, 0, data=DATA) == {"offset": len(DATA), "done": True}
    assert (bench.files / "a.bin").read_bytes() == DATA and not bench.hidden
    assert bench("begin_put", *ABOUT) == {"offset": len(DATA), "done": True}
    assert bench("stat", "a.bin")["sha256"] == SHA256
    bench("append", "a.bin", b"!")
    assert bench("stat", "a.bin")["sha256"] == hashlib.sha256(DATA + b"!").hexdigest()
    assert not bench("begin_put", *ABOUT)["done"], "another content is another file"


def test_an_empty_file(bench: Bench) -> None:
    about = ("empty", 0, hashlib.sha256(b"").hexdigest())
    assert bench("go_on_put", *about, 0, data=b"")["done"]
    assert (bench.files / "empty").read_bytes() == b""


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=5), restarts=st.lists(st.booleans(), min_size=6, max_size=6))
def test_any_cuts_give_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], restarts: list[bool]
) -> None:
    bench = Bench(tmp_path_factory.mktemp("cuts"))
    ends = [*sorted(cuts), len(DATA)]
    offset = 0
    for end, restart in zip(ends, restarts, strict=False):
        assert bench.offset() == offset
        answer = bench("go_on_put", *ABOUT, offset, data=DATA[offset:end])
        offset = end
        assert answer == {"offset": end, "done": end == len(DATA)}
        if answer["done"]:
            break
        assert not (bench.files / "a.bin").exists()
        if restart:
            asyncio.run(bench.io.stop())
            bench = Bench(bench.files.parent)
    assert (bench.files / "a.bin").read_bytes() == DATA and not bench.hidden
    asyncio.run(bench.io.stop())


def test_what_came_before_a_break_stays(bench: Bench) -> None:
    async def once() -> None:
        work = invoke(bench.io, "go_on_put", [*ABOUT, 0], {}, subject="client/a", upload=broken(DATA[:3000]))
        with pytest.raises(ConnectionError):
            await cast("Awaitable[object]", work)

    asyncio.run(once())
    assert bench.offset() == 3000


def test_only_where_it_ends(bench: Bench) -> None:
    bench("go_on_put", *ABOUT, 0, data=DATA[:1000])
    for offset in (0, 999, 1001, len(DATA)):
        with pytest.raises(Conflict, match="1000 bytes"):
            bench("go_on_put", *ABOUT, offset, data=DATA)
    assert bench.offset() == 1000


def test_each_sender_and_each_content_has_its_own(bench: Bench) -> None:
    bench("go_on_put", *ABOUT, 0, data=DATA[:1000])
    other = ("a.bin", len(DATA), hashlib.sha256(DATA[::-1]).hexdigest())
    assert bench.offset(subject="client/b") == 0 and bench.offset(*other) == 0
    with pytest.raises(Conflict):
        bench("go_on_put", *ABOUT, 1000, data=b"x", subject="client/b")


@pytest.mark.parametrize("damage", ["sent", "disk", "disk and restart", "more"])
def test_no_wrong_byte_gets_a_name(bench: Bench, damage: str) -> None:
    bench("write", "a.bin", "old")
    bench("go_on_put", *ABOUT, 0, data=DATA[:1000])
    rest = DATA[1000:]
    if damage == "sent":
        rest = rest[:-1] + b"\0"
    elif damage == "more":
        rest += b"\0"
    elif damage == "disk and restart":
        bench = bench.anew()
        with (bench.files / bench.hidden[0]).open("r+b") as part:
            part.write(b"wrong")
    else:  # the running SHA-256 is that of what came: what lies on the disk is another's to keep
        rest = b"\1" + rest[1:]
    with pytest.raises(Conflict, match="nothing was changed"):
        bench("go_on_put", *ABOUT, 1000, data=rest)
    assert (bench.files / "a.bin").read_bytes() == b"old" and not bench.hidden and bench.offset() == 0


def test_who_goes_on_ends_an_earlier_sender(bench: Bench) -> None:
    async def both() -> None:
        gate = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield DATA[:1000]
            await gate.wait()
            yield DATA[1000:2000]

        def go_on(offset: int, upload: AsyncIterator[bytes]) -> Any:
            return invoke(bench.io, "go_on_put", [*ABOUT, offset], {}, subject="client/a", upload=upload)

        first = asyncio.ensure_future(go_on(0, slow()))
        while not bench.hidden or (bench.files / bench.hidden[0]).stat().st_size < 1000:
            await asyncio.sleep(0)
        assert (await go_on(1000, pieces(DATA[1000:])))["done"]
        gate.set()
        with pytest.raises(Conflict, match="another connection"):
            await first

    asyncio.run(both())
    assert (bench.files / "a.bin").read_bytes() == DATA and not bench.hidden


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "", ".up-1", "a/b", "a\0b", "-x", "ä"])
def test_names_lead_nowhere(bench: Bench, name: str) -> None:
    for method, args in (("begin_put", [9, SHA256]), ("go_on_put", [9, SHA256, 0])):
        with pytest.raises(InvalidArgument, match=r"^name"):
            bench(method, name, *args, data=b"x" if method == "go_on_put" else None)
    with pytest.raises(InvalidArgument, match="hexadecimal"):
        bench("begin_put", "a", 9, "../" + "0" * 61)
    assert os.listdir(bench.files) == []


def test_a_planted_link_is_not_written_to(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    bench("go_on_put", *ABOUT, 0, data=DATA[:10])
    part = bench.files / bench.hidden[0]
    part.unlink()
    part.symlink_to(outside)
    with pytest.raises(Denied):
        bench("go_on_put", *ABOUT, 10, data=DATA[10:])
    assert outside.read_text() == "mine"


def test_bounds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failed, match="limit for a file"):
        bench("begin_put", "large", (1 << 19) + 1, SHA256)
    with pytest.raises(Conflict):
        bench("go_on_put", "large", (1 << 19) + 1, SHA256, 0, data=b"x")
    monkeypatch.setattr(uploads, "UPLOADS_MAX", 3)
    for number in range(6):
        bench("begin_put", f"f{number}", 1000, SHA256)
        bench("go_on_put", f"f{number}", 1000, SHA256, 0, data=b"x" * 10)
        assert len(bench.hidden) <= 3, "the oldest that nobody sends goes"
    assert bench.offset("f5", 1000, SHA256) == 10 and bench.offset("f0", 1000, SHA256) == 0


def test_one_sender_has_a_share_also_after_a_restart(bench: Bench) -> None:
    bench("go_on_put", "other", 1000, SHA256, 0, data=b"x" * 10, subject="client/b")
    for number in range(uploads.UPLOADS_SHARE):
        bench("go_on_put", f"f{number}", 1000, SHA256, 0, data=b"x" * 10)
    with pytest.raises(Busy):
        bench("go_on_put", "more", 1000, SHA256, 0, data=b"x" * 10)
    bench = bench.anew()
    with pytest.raises(Busy):
        bench("go_on_put", "more", 1000, SHA256, 0, data=b"x" * 10)
    assert bench.offset("more", 1000, SHA256) == 0, "the oldest of its own makes room"
    assert len(bench.hidden) == uploads.UPLOADS_SHARE
    assert bench.offset("other", 1000, SHA256, subject="client/b") == 10


def test_unfinished_bytes_count_until_their_room_is_needed(bench: Bench) -> None:
    half = (1 << 19) - 1
    bench("go_on_put", "one", half, SHA256, 0, data=b"x" * 400_000)
    bench("write", "two", b"x" * 500_000)
    with pytest.raises(Failed, match="folder is full"):
        bench("write", "three", b"x" * 200_000)
    assert bench.offset("four", half, SHA256) == 0
    assert bench.offset("one", half, SHA256) == 0, "its room was needed"
    bench("write", "three", b"x" * 200_000)


def test_what_nobody_goes_on_with_is_removed(bench: Bench) -> None:
    bench("go_on_put", *ABOUT, 0, data=DATA[:1000])
    part = bench.files / bench.hidden[0]
    os.utime(part, (1, 1))
    bench("begin_put", "b", 5, SHA256)
    assert not part.exists() and bench.offset() == 0


def test_reading_goes_on_at_an_offset(bench: Bench) -> None:
    bench("write", "a.bin", DATA)

    async def read(offset: int) -> bytes:
        items = cast("Any", invoke(bench.io, "read_stream", ["a.bin", offset], {}, subject="client/a"))
        return b"".join([item async for item in items])

    assert asyncio.run(read(0)) == DATA
    assert asyncio.run(read(5000)) == DATA[5000:]
    assert asyncio.run(read(len(DATA) + 9)) == b""
