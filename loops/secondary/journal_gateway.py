"""The journal of this machine over systemd-journal-gatewayd: one request, one bounded answer, over a UNIX socket.

HTTP/1.0, so that an answer ends with its connection. What is asked for are so many entries from a cursor on, or from
the end back; an answer that gives more, or other bytes, is cut off there.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote

from tlsrt.loops.secondary.journal_entries import LINE_BYTES, read_line_untrusted
from tlsrt.loops.secondary.log_query import Filter, Found, Page, Position

PAGE = 250  # entries of one request
PAGES = 8  # requests of one question at most
ANSWER_BYTES = 8 << 20
ANSWER_S = 5.0
_HEAD_BYTES = 16 * 1024
_LAST = f"-{PAGE - 1}:{PAGE}"  # from the end: it goes back by one more than it is told, to where an answer begins
_UNSAID = 6  # the priority of what says none: info, as journald has it
_INSTALL = "install systemd-journal-remote, and have systemd-journal-gatewayd.socket listen there"


class Away(Exception):
    """The journal does not answer; the sentence says why and what to do."""


class Answer(NamedTuple):
    """Entries in the order of the journal, how many lines there were, and what was wrong with others."""

    found: list[Found]
    lines: int
    why: str


class JournalGateway:
    """The gateway at one socket. It holds no connection."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._has_times = True  # it takes a time in Range, as since systemd 254; found out by asking

    async def older(self, wanted: Filter, before: Position, limit: int) -> tuple[Page, str]:
        """Return entries before a position, the newest first, and what was wrong. Raises Away."""
        passed: list[Found] = []
        cursor, bound, why, edge = before.journal, before.at_us, "", ""
        if bound is None or (wanted.until_us is not None and wanted.until_us < bound):
            bound = wanted.until_us
        for _ in range(PAGES):
            answer = await self._back(wanted, cursor, bound)
            why = answer.why or why
            for found in reversed(answer.found):
                if found.at_us < wanted.since_us:
                    return Page(passed, None), why
                cursor = found.cursor
                is_given = before.journal == "" and before.at_us is not None and found.at_us > before.at_us
                if not is_given and wanted.wants(found.entry, found.at_us, _UNSAID):
                    passed.append(found)
                    if len(passed) >= limit:
                        return Page(passed, None), why
            if answer.lines < PAGE or not answer.found:
                return Page(passed, None), why
            edge, bound = cursor, answer.found[0].at_us
        return Page(passed, bound, edge), why

    async def _back(self, wanted: Filter, cursor: str, bound: int | None) -> Answer:
        """Return the entries before a cursor, or before a moment, or the last ones."""
        if cursor:
            return _before(await self._ask(wanted, f"entries={cursor}:-{PAGE}:{PAGE}", PAGE), cursor)
        if bound is not None and self._has_times:
            until = bound // 1_000_000 + 1  # in seconds
            answer = await self._ask(wanted, f"realtime=:{until}:{_LAST}", PAGE + 1)
            if answer.lines <= PAGE and all(one.at_us <= until * 1_000_000 for one in answer.found):
                return answer
            self._has_times = False
        return await self._ask(wanted, f"entries=:{_LAST}", PAGE)

    async def newer(self, wanted: Filter, cursor: str, most: int) -> tuple[list[Found], str]:
        """Return entries after a cursor, or from the beginning, and the cursor to go on from. Raises Away."""
        answer = await self._ask(wanted, f"entries={cursor}:0:{most + 1}", most + 1)
        found = [one for one in answer.found if one.cursor != cursor]
        passed = [one for one in found if wanted.wants(one.entry, one.at_us, _UNSAID)]
        return passed, found[-1].cursor if found else cursor

    async def end(self) -> str:
        """Return the cursor of the last entry; "" if there is none. Raises Away."""
        answer = await self._ask(Filter(), f"entries=:{_LAST}", PAGE)
        return answer.found[-1].cursor if answer.found else ""

    async def _ask(self, wanted: Filter, entries: str, most: int) -> Answer:
        matches = [("_SYSTEMD_UNIT", wanted.unit)] if wanted.unit else []
        if wanted.priority is not None:
            matches += [("PRIORITY", str(number)) for number in range(wanted.priority + 1)]
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in matches)
        lines = (f"GET /entries{'?' if query else ''}{query} HTTP/1.0", "Host: localhost", "Accept: application/json",
                 f"Range: {entries}", "", "")  # fmt: skip
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._exchange("\r\n".join(lines).encode("ascii"), most)
        except TimeoutError:
            raise Away(f"the journal's gateway at {self._path} did not answer in {ANSWER_S:g} s") from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise Away(f"nothing listens at {self._path}: {_INSTALL}") from None
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, "no errno")
            words = "the socket is not for this component's uid: see SocketUser" if reason == "EACCES" else reason
            raise Away(f"the journal's gateway at {self._path} cannot be asked: {words}") from None
        except asyncio.LimitOverrunError:
            raise Away(f"what answers at {self._path} is no gateway of the journal") from None

    async def _exchange(self, request: bytes, most: int) -> Answer:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=LINE_BYTES)
        try:
            writer.write(request)
            await writer.drain()
            await self._head(reader)
            return await _entries(reader, most)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _head(self, reader: asyncio.StreamReader) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            raise Away(f"the journal's gateway at {self._path} closed the connection without an answer") from None
        first, _, rest = head.partition(b"\r\n")
        status = first.split(b" ", 2)[1:2] if first.startswith(b"HTTP/1.") else []
        if len(head) > _HEAD_BYTES or not status or b"chunked" in rest.lower():
            raise Away(f"what answers at {self._path} is no gateway of the journal")
        if status[0] not in (b"200", b"206"):
            code = status[0][:3].decode("ascii", "replace")
            raise Away(f"the journal's gateway refused the question with status {code}: look at its own log")


def _before(answer: Answer, cursor: str) -> Answer:
    """Return what stands before a cursor: where less is there, the gateway gives what follows as well."""
    for number, one in enumerate(answer.found):
        if one.cursor == cursor:
            return Answer(answer.found[:number], number, answer.why)
    return answer


async def _entries(reader: asyncio.StreamReader, most: int) -> Answer:
    """Return at most so many entries. What is no entry is left out, and a line without an end ends the answer."""
    found: list[Found] = []
    why, size, count = "", 0, 0
    while count < most:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
            if not line:
                break
        except asyncio.LimitOverrunError:
            why = f"an entry of more than {LINE_BYTES >> 10} KiB ended the answer"
            break
        size += len(line)
        if size > ANSWER_BYTES:
            why = f"an answer of more than {ANSWER_BYTES >> 20} MiB was cut"
            break
        if line.strip():
            count += 1
            said = read_line_untrusted(line)
            why = said.why or why
            if said.found is not None:
                found.append(said.found)
    return Answer(found, count, why)
