"""What answers in the place of the journal's gateway, and lies: each is one sentence, bounded in bytes and time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tlsrt.loops.secondary import journal_gateway
from tlsrt.loops.secondary.journal_gateway import PAGE, Away, JournalGateway
from tlsrt.loops.secondary.log_query import Filter, Position

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def line(number: int) -> bytes:
    fields = {
        "__CURSOR": f"s=1;i={number}",
        "__REALTIME_TIMESTAMP": str(1_796_155_200_000_000 + number),
        "MESSAGE": "x",
    }
    return json.dumps(fields).encode() + b"\n"


@asynccontextmanager
async def answering(path: Path, answer: Answer) -> AsyncIterator[list[str]]:
    """Run a server that gives one answer to each question; yields the questions."""
    asked: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
                await answer(writer)
                await writer.drain()
        finally:  # also when the test is over before it has answered
            writer.close()

    server = await asyncio.start_unix_server(talk, path)
    try:
        yield asked
    finally:
        server.close()


def saying(*pieces: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return answer


def ask(path: Path, answer: Answer) -> tuple[int, str, list[str]]:
    """Return how many entries came of one question for the last ones, what was wrong, and what was asked."""

    async def run() -> tuple[int, str, list[str]]:
        async with answering(path, answer) as asked:
            page, why = await JournalGateway(str(path)).older(Filter(), Position(), 100)
            return len(page.found), why, asked

    return asyncio.run(run())


def test_a_question_names_what_it_wants_and_nothing_of_a_caller_ends_its_line(tmp_path: Path) -> None:
    async def run() -> list[str]:
        async with answering(tmp_path / "s", saying(HEAD)) as asked:
            wanted = Filter(unit="a b&c=d.service", priority=1)
            await JournalGateway(str(tmp_path / "s")).older(wanted, Position(), 5)
            return asked

    (asked,) = asyncio.run(run())
    first, *rest = asked.split("\r\n")
    assert first == "GET /entries?_SYSTEMD_UNIT=a%20b%26c%3Dd.service&PRIORITY=0&PRIORITY=1 HTTP/1.0"
    assert rest[-3:] == [f"Range: entries=:-{PAGE - 1}:{PAGE}", "", ""]


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ((b"",), "closed the connection"), ((b"SSH-2.0\r\n\r\n",), "no gateway"),
        ((b"HTTP/1.1 400 Bad\r\n\r\n",), "status 400"), ((b"HTTP/1.1\r\n\r\n",), "no gateway"),
        ((b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000 + b"\r\n",), "no gateway"),
        ((b"x" * 400_000,), "no gateway"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",), "no gateway"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_one_sentence(tmp_path: Path, pieces: tuple[bytes, ...], says: str) -> None:
    with pytest.raises(Away, match=says) as error:
        ask(tmp_path / "s", saying(*pieces))
    assert str(error.value).isprintable()


def test_without_a_gateway_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Away, match="install systemd-journal-remote"):
        asyncio.run(JournalGateway(str(tmp_path / "none")).end())


@pytest.mark.parametrize(
    ("pieces", "count", "says"),
    [
        ((HEAD, line(1), b"{bad\n", line(2), b"[]\n"), 2, "no entry"),
        ((HEAD, line(1), line(2)[:-9]), 1, "no JSON"),
        ((HEAD, line(1), b"x" * 600_000), 1, "more than 256 KiB"),
        ((HEAD, *map(line, range(10 * PAGE))), 100, ""),
        ((HEAD, b"\x00\xff\n" * 10 * PAGE), 0, "no JSON"),
    ],
)  # fmt: skip
def test_what_is_no_entry_is_left_out_and_told(
    tmp_path: Path, pieces: tuple[bytes, ...], count: int, says: str
) -> None:  # fmt: skip
    found, why, asked = ask(tmp_path / "s", saying(*pieces))
    assert found == count and says in why and len(asked) <= journal_gateway.PAGES


def test_one_that_gives_the_same_for_ever_is_asked_a_bounded_number_of_times(tmp_path: Path) -> None:
    async def run() -> int:
        async with answering(tmp_path / "s", saying(HEAD, line(1) * PAGE)) as asked:
            gateway = JournalGateway(str(tmp_path / "s"))
            await gateway.older(Filter(text="never"), Position(), 5)
            return len(asked)

    assert asyncio.run(run()) <= journal_gateway.PAGES


def test_one_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_gateway, "ANSWER_S", 0.05)

    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + line(1)[:-5])
        await asyncio.Event().wait()

    with pytest.raises(Away, match="did not answer in"):
        ask(tmp_path / "s", silent)


def test_empty_lines_without_an_end_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_gateway, "ANSWER_BYTES", 10_000)
    found, why, _ = ask(tmp_path / "s", saying(HEAD, b"\n" * 100_000))
    assert found == 0 and "was cut" in why
