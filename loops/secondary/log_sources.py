"""The three logs behind one question: which of them answer, and in a sentence why another does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from tlsrt import CallError, DiskThread, DiskWork, RuntimeFile
from tlsrt.loops.secondary.journal_gateway import Away, JournalGateway
from tlsrt.loops.secondary.log_query import Filter, Found, Page, Position
from tlsrt.loops.secondary.own_logs import AuditLog, AuditPiece, NewEntries, ProcessLog, audit_pieces

FRESH_S = 5.0  # for which open files are used again: a log that was moved away is noticed after so long
BEHIND_BYTES = 512 * 1024  # of one file with one look of a follower
_NEWER = 500  # entries of the journal with one look
Result = TypeVar("Result")


class RuntimeLogs(Protocol):
    """The part of `self.runtime` that is needed."""

    async def log_files(self) -> list[RuntimeFile]: ...

    async def audit_files(self) -> list[RuntimeFile]: ...


class Files:
    """The open files of one kind, asked for again when they are old."""

    def __init__(self, ask: Callable[[], Awaitable[list[RuntimeFile]]]) -> None:
        self._ask = ask
        self._lock = asyncio.Lock()
        self._found: list[RuntimeFile] = []
        self._at = -FRESH_S

    async def get(self) -> list[RuntimeFile]:
        """Return them. Who holds one reads on in it, and it is closed when none does. Raises CallErrors."""
        async with self._lock:
            if time.monotonic() - self._at >= FRESH_S:
                self._found = await self._ask()
                self._at = time.monotonic()
            return self._found


class Looked(NamedTuple):
    """Pages by log, and what is wrong by source."""

    pages: dict[str, Page]
    missing: dict[str, str]


class LogSources:
    """All logs of this host."""

    def __init__(self, runtime: RuntimeLogs, gateway: JournalGateway, disk: DiskThread) -> None:
        self._gateway = gateway
        self._disk = disk
        self._files = {"logs": Files(runtime.log_files), "audit": Files(runtime.audit_files)}

    async def older(self, caller: str, sources: Sequence[str], wanted: Filter, before: Position, limit: int) -> Looked:
        """Return what each log has before a position; one that does not answer is missing, with a sentence."""
        looked = Looked({}, {})
        asked = [self._older(caller, one, wanted, before, limit, looked) for one in sources if wanted.asks(one)]
        await asyncio.gather(*asked)
        return looked

    async def _older(
        self, caller: str, source: str, wanted: Filter, before: Position, limit: int, looked: Looked
    ) -> None:  # fmt: skip
        why: list[str] = []
        try:
            if source == "journal":
                looked.pages["journal"], said = await self._gateway.older(wanted, before, limit)
                why.append(said)
            else:
                for log in _logs(source, await self._files[source].get()):
                    if isinstance(log, AuditLog) or not _is_elsewhere(log.name, wanted.component):
                        name = "audit" if isinstance(log, AuditLog) else log.name
                        work = DiskWork(partial(log.older, wanted, before, limit))
                        looked.pages[name], said = await self._disk.run(caller, work)
                        why.append(said)
        except (Away, CallError, OSError) as error:
            why.append(_sentence(error))
        if said := "; ".join(dict.fromkeys(one for one in why if one)):
            looked.missing[source] = said

    async def audit_log(self, caller: str, parts: int) -> AsyncIterator[tuple[AuditPiece, bytes]]:
        """Yield the audit log as it is, the oldest first; see `audit_pieces`. Raises CallErrors and OSError."""
        files = await self._files["audit"].get()
        pieces = await self._disk.run(caller, DiskWork(lambda: [*audit_pieces(files, parts)]))
        for piece in pieces:
            yield piece, await self._disk.run(caller, DiskWork(piece.read))

    def follow(self, caller: str, sources: Sequence[str], wanted: Filter) -> Follower:
        """Return what tells new entries from now on."""
        return Follower(caller, [one for one in sources if wanted.asks(one)], wanted, self._gateway, self._files,
                        self._disk)  # fmt: skip


class Follower:
    """New entries of some logs for one caller; each look goes on where the last one has ended."""

    def __init__(
        self, caller: str, sources: Sequence[str], wanted: Filter, gateway: JournalGateway, files: dict[str, Files],
        disk: DiskThread,
    ) -> None:  # fmt: skip
        self._caller = caller
        self._wanted = wanted
        self._gateway = gateway
        self._files = files
        self._disk = disk
        self._cursor: str | None = None
        self._new = {source: NewEntries(BEHIND_BYTES) for source in sources if source != "journal"}
        self._has_journal = "journal" in sources

    async def look(self) -> tuple[list[Found], dict[str, str], int]:
        """Return what is new, ordered by time, what is missing, and how many bytes were left out."""
        found, missing, left_out = list[Found](), dict[str, str](), 0
        if self._has_journal:
            try:
                found += await self._journal()
            except Away as error:
                missing["journal"] = _sentence(error)
        for source, new in self._new.items():
            try:
                files = await self._files[source].get()
                is_audit = source == "audit"
                work: DiskWork[Any] = DiskWork(partial(new.take, files, is_audit=is_audit))
                some, left = await self._disk.run(self._caller, work)
            except (CallError, OSError) as error:
                missing[source] = _sentence(error)
                continue
            left_out += left
            found += [one for one in some if self._wanted.wants(one.entry, one.at_us, 5 if is_audit else 6)]
        found.sort(key=lambda one: one.at_us)
        return found, missing, left_out

    async def _journal(self) -> list[Found]:
        if self._cursor is None:
            self._cursor = await self._gateway.end()
            return []
        found, self._cursor = await self._gateway.newer(self._wanted, self._cursor, _NEWER)
        return found


def _logs(source: str, files: Sequence[RuntimeFile]) -> list[ProcessLog | AuditLog]:
    if source == "audit":
        return [AuditLog(files)]
    names = sorted({file.name for file in files})
    return [ProcessLog(name, [file for file in files if file.name == name]) for name in names]


def _is_elsewhere(process: str, component: str) -> bool:
    """Tell whether the log of a process cannot have lines of a component: it is of another loop."""
    return component != "" and process.split(".")[0] != component.replace("/", ".").split(".")[0]


def _sentence(error: Exception) -> str:
    if isinstance(error, CallError):
        return error.message
    return f"its files cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
