"""The rows `audit` and `audit-verify`: records that are safely on the disk, and records that are looked at.

The disk is that of the temporary folder. What we write is sealed: chain, MAC, tree, a signed head every 256 records.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import count
from pathlib import Path

from bench.row import Case, CaseMissing, Sample, Subject
from tlsrt.channels.clock import Moment
from tlsrt.config import key_schedule
from tlsrt.supervisor.audit.open import AuditKeys, file_key_of, open_log, public_of
from tlsrt.supervisor.audit.record import LogRecord, plain_detail
from tlsrt.supervisor.audit.verify import verify
from tlsrt.supervisor.audit.writer import LogWriter, Work

INSTALL = bytes(16)
VERIFIED = 10_000  # records in the log that is verified
_DETAIL: dict[str, str | int] = {"session": "8359c564588b936f1e6a389822e6cf28", "certificate": "40" * 32, "http": 0}


def _root() -> bytes:
    return key_schedule.audit_root(key_schedule.extract(INSTALL, b"k" * 32))


def _writer(folder: Path) -> LogWriter:
    state = os.open(folder, os.O_RDONLY)
    try:
        given = AuditKeys(_root(), INSTALL, bytes(16), 1)
        return open_log(state, given, "boot", {}, Moment(0, 0), secrets.token_bytes).writer
    finally:
        os.close(state)


def _record(number: int) -> LogRecord:
    return LogRecord(number, number, "session_opened", "client/admin", plain_detail(_DETAIL))


def _plain(number: int) -> str:
    return json.dumps({"seq": number, "kind": "session_opened", "subject": "client/admin", **_DETAIL})


class _Durable:
    """Writes batches until its time is over."""

    def __init__(self, write: Callable[[list[int]], None]) -> None:
        self._write = write
        self._numbers = count(1)

    def burst(self, case: Case, seconds: float) -> Sample:
        together = case.number("together")
        began, cpu, done = time.monotonic(), time.process_time(), 0
        while (took := time.monotonic() - began) < seconds:
            self._write([next(self._numbers) for _ in range(together)])
            done += together
        return {"rate": done / took, "cpu_us": (time.process_time() - cpu) / done * 1e6}


@contextmanager
def open_ours(folder: Path) -> Iterator[Subject]:
    """The audit log."""
    writer = _writer(folder)

    def write(numbers: list[int]) -> None:
        problem = writer.write(Work([_record(number) for number in numbers], numbers[0], 0)).problem
        if problem:
            raise OSError(problem)

    with closing(writer):
        yield _Durable(write)


@contextmanager
def open_lines(folder: Path) -> Iterator[Subject]:
    """Lines of JSON that nothing protects, appended and synced."""
    with (folder / "lines").open("ab", buffering=0) as file:

        def write(numbers: list[int]) -> None:
            file.write("".join(_plain(number) + "\n" for number in numbers).encode())
            os.fdatasync(file.fileno())

        yield _Durable(write)


@contextmanager
def open_sqlite(folder: Path) -> Iterator[Subject]:
    """Rows of a table: WAL, synchronous FULL, one transaction a batch."""
    with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, line TEXT)")

        def write(numbers: list[int]) -> None:
            base.execute("BEGIN")
            base.executemany("INSERT INTO log VALUES (?, ?)", [(number, _plain(number)) for number in numbers])
            base.execute("COMMIT")

        yield _Durable(write)


class _Verified:
    """Looks at one log from its first byte to its last."""

    def __init__(self, look: Callable[[Case], None]) -> None:
        self._look = look

    def burst(self, case: Case, seconds: float) -> Sample:
        began, cpu = time.monotonic(), time.process_time()
        self._look(case)
        took = time.monotonic() - began
        return {"rate": VERIFIED / took, "cpu_us": (time.process_time() - cpu) / VERIFIED * 1e6}


@contextmanager
def open_verify(folder: Path) -> Iterator[Subject]:
    """The verifier, with the public key alone and with master_key."""
    with closing(_writer(folder)) as writer:
        for start in range(0, VERIFIED, 500):
            writer.write(Work([_record(start + number) for number in range(500)], start, 0))
    files = [(path.name, path.read_bytes()) for path in sorted((folder / "audit").glob("audit-*.log"))]
    trusted, file_key = [public_of(_root())], file_key_of(_root())

    def look(case: Case) -> None:
        report = verify(files, trusted, file_key=file_key if case.name == "with the MACs" else lambda header: None)
        if report.fault is not None:
            raise OSError(str(report.fault))

    yield _Verified(look)


def open_reader() -> Callable[[Path], AbstractContextManager[Subject]]:
    """Return how to open what only reads as many lines of JSON."""

    @contextmanager
    def opened(folder: Path) -> Iterator[Subject]:
        lines = [_plain(number) for number in range(VERIFIED)]

        def look(case: Case) -> None:
            if case.name == "with the MACs":
                raise CaseMissing("it has none")
            for line in lines:
                json.loads(line)

        yield _Verified(look)

    return opened
