"""Sharing the suite among several pytest processes (tests/tools/run.py): whole files, the slow ones first.

A file stays in one process, so that what its tests share is made once. Who takes the next one is decided by a number
in a file under a lock. The many small files of `unit` are dealt out beforehand, as to collect them takes as long as to
run them; each process begins with its own.
"""

from __future__ import annotations

import fcntl
import gc
import itertools
import json
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import settings

# Few tests, and many seconds each: begun at the end they would keep one process busy while the others have nothing.
_SLOW_FIRST = ("integration/install", "integration/reload", "chaos", "attacks", "integration", "property")
_ROOT = Path(__file__).parent


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell that runs the suite in the background:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs that a test interrupts would inherit it


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--share", metavar="FILE", help="run only files that no other process with the same FILE runs")
    parser.addoption(
        "--hand", metavar="N/M", default="1/1", help="which of how many processes that share files this is"
    )
    parser.addoption("--results", metavar="FILE", help="append a line of JSON for each phase of each test")


def pytest_configure(config: pytest.Config) -> None:
    """Draw the same examples in every run, so that a change is judged by what it changed; others with a seed.

    None is judged by its time: how long one takes says on a busy machine what runs beside it.
    """
    settings.register_profile("same", derandomize=config.getoption("--hypothesis-seed") is None, deadline=None)
    settings.load_profile("same")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is in another process's hand."""
    number, hands = map(int, config.getoption("--hand").split("/"))
    if hands == 1 or not _is_dealt(collection_path):
        return None
    return True if crc32(collection_path.name.encode()) % hands != number - 1 else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Name what failed at once: the reports of all processes come minutes later. And write it down for the runner."""
    report = yield
    if (path := item.config.getoption("--results")) is not None:
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        row = {"id": report.nodeid, "when": report.when, "outcome": report.outcome, "seconds": report.duration}
        with open(path, "a") as file:  # one short write: several processes append
            file.write(json.dumps({**row, "reason": reason}) + "\n")
    if report.failed and item.config.getoption("--share") is not None:
        print(f"\nfailed: {report.nodeid} ({report.when})", file=sys.__stderr__, flush=True)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run files until none is left; None leaves everything to pytest."""
    shared = session.config.getoption("--share")
    if shared is None or session.testsfailed or session.config.option.collectonly:
        return None
    gc.collect()
    gc.freeze()  # what was imported and collected: no later look for garbage, and no fork of a test, goes through it
    files = [list(group) for _, group in itertools.groupby(session.items, key=lambda item: item.path)]
    own = [items for items in files if _is_dealt(items[0].path)]
    common = [items for items in files if not _is_dealt(items[0].path)]
    common.sort(key=lambda items: (_rank(items[0].path), -len(items)))  # the same in every process
    turns = (common[index] for index in _turns(Path(shared), len(common)))
    for items in itertools.chain(own, turns):
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    return True


def _turns(shared: Path, end: int) -> Iterator[int]:
    """Give the numbers below `end` that nobody else was given."""
    while True:
        with shared.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            index = int(file.read() or 0)
            file.seek(0)
            file.write(str(index + 1))
        if index >= end:
            return
        yield index


def _is_dealt(path: Path) -> bool:
    return path.suffix == ".py" and path.is_relative_to(_ROOT / "unit") and path.name.startswith("test_")


def _rank(path: Path) -> int:
    folders = (number for number, folder in enumerate(_SLOW_FIRST) if path.is_relative_to(_ROOT / folder))
    return next(folders, len(_SLOW_FIRST))
