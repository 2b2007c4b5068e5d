"""Sharing the suite among several pytest processes (tests/tools/run.py): whole files, the slow ones first.

A file stays in one process, so that what its tests share is made once. Who takes the next one is decided by a number
in a file under a lock; a process collects a file when it takes it, and no other. There are two such queues: files with
real processes, which wait as often as they compute, and pure ones, which only compute. A process that is `--pure` takes
of the second only, with little priority: so it has the processors where the others wait, and slows nobody down.
"""

from __future__ import annotations

import fcntl
import gc
import itertools
import json
import os
import signal
import sys
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import pytest
from _pytest.runner import collect_one_node
from hypothesis import settings

# Many seconds each: begun at the end they would keep one process busy while the others have nothing. The first are
# the dearest as the runner prints them, then come folders.
_SLOW_FIRST = (
    "integration/install/test_service.py", "integration/install/test_less_than_the_host.py",
    "integration/install/test_component_command.py", "integration/install/test_strict_measure.py",
    "integration/test_door_example.py", "integration/test_rotation.py", "integration/test_example.py",
    "integration/reload/test_components.py", "chaos/test_faults.py", "integration/install", "integration/reload",
    "chaos", "integration/test_who_dies.py", "integration/test_supervisor.py", "integration/test_deaths.py",
    "integration/test_supervisor_real.py", "integration/test_documents.py", "attacks", "integration",
)  # fmt: skip
_PURE = ("unit", "property", "vectors")
_PURE_NICE = 5
_ROOT = Path(__file__).parent
_files: pytest.StashKey[dict[Path, list[pytest.Item | pytest.Collector]]] = pytest.StashKey()


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell that runs the suite in the background:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs that a test interrupts would inherit it


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--share", metavar="FILE", help="run only files that no other process with the same FILE runs")
    parser.addoption("--pure", action="store_true", help="with --share: run only files that need no processes")
    parser.addoption("--results", metavar="FILE", help="append a line of JSON for each phase of each test")


def pytest_configure(config: pytest.Config) -> None:
    """Draw the same examples in every run, so that a change is judged by what it changed; others with a seed.

    None is judged by its time: how long one takes says on a busy machine what runs beside it.
    """
    settings.register_profile("same", derandomize=config.getoption("--hypothesis-seed") is None, deadline=None)
    settings.load_profile("same")
    config.pluginmanager.register(_Errors(config))
    if config.getoption("--pure"):
        os.nice(_PURE_NICE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Name what failed at once: the reports of all processes come minutes later. And write it down for the runner."""
    report = yield
    reason = _reason(report.longrepr)
    row = {"id": report.nodeid, "when": report.when, "outcome": report.outcome, "seconds": report.duration}
    _append(item.config, **row, reason=reason)
    if report.failed and item.config.getoption("--share") is not None:
        print(f"\nfailed: {report.nodeid} ({report.when})", file=sys.__stderr__, flush=True)
    return report


class _Errors:
    """Writes down a file that cannot be imported, or is left out as it is: it has no test that could report."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            row = {"id": report.nodeid, "when": "collect", "outcome": report.outcome, "seconds": 0.0}
            _append(self._config, **row, reason=_reason(report.longrepr))


def _reason(said: object) -> str:
    """Return why a test or a file was left out, from the report."""
    return str(said[2]).removeprefix("Skipped: ") if isinstance(said, tuple) else ""


def _append(config: pytest.Config, **row: object) -> None:
    """Write a line for the runner, if there is one."""
    if (path := config.getoption("--results")) is not None:
        with open(path, "a") as file:  # one short write: several processes append
            file.write(json.dumps(row) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Find the files only, if they are shared: what is in them is collected by who runs them."""
    if session.config.getoption("--share") is not None:
        collect = session.perform_collect
        session.perform_collect = lambda: collect(genitems=False)  # type: ignore[assignment,method-assign]
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take what was found, before pytest forgets the conftest.py of folders that were not opened."""
    if config.getoption("--share") is not None and _files not in config.stash:
        config.stash[_files] = _by_file(items)
        items.clear()


def _by_file(nodes: Iterable[pytest.Item | pytest.Collector]) -> dict[Path, list[pytest.Item | pytest.Collector]]:
    """Return what was found, folders opened, by its file."""
    found: dict[Path, list[pytest.Item | pytest.Collector]] = {}
    waiting = [*nodes]
    while waiting:
        node = waiting.pop()
        if isinstance(node, pytest.Directory):
            report = collect_one_node(node)
            node.ihook.pytest_collectreport(report=report)
            waiting += report.result or []
        else:
            found.setdefault(node.path, []).append(node)
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run files until none is left; None leaves everything to pytest."""
    config = session.config
    shared = config.getoption("--share")
    if shared is None or config.option.collectonly:
        return None
    found = config.stash[_files]
    count = 0
    for is_pure in (True,) if config.getoption("--pure") else (False, True):
        files = sorted((file for file in found if _is_pure(file) is is_pure), key=_order)
        for index in _turns(Path(f"{shared}.{is_pure}"), len(files)):
            items = [item for node in found[files[index]] for item in session.genitems(node)]
            config.hook.pytest_collection_modifyitems(session=session, config=config, items=items)
            _run(session, files[index], items)
            count += len(items)
    session.testscollected = max(count, 1)  # 0 would be an error: others may have had them all
    return True


@pytest.fixture(scope="module", autouse=True)
def _collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what a file with real processes has left: a socket that it has not closed fails it, and not the next."""
    yield
    if not _is_pure(request.path):
        gc.collect()


def _run(session: pytest.Session, file: Path, items: list[pytest.Item]) -> None:
    """Run a file, and write down what it cost."""
    before = sum(os.times()[:4])
    if not _is_pure(file):  # it forks: no fork, and no later look for garbage, goes through what is there now
        gc.collect()
        gc.freeze()
    for item, following in itertools.zip_longest(items, items[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    _append(session.config, file=os.path.relpath(file), processor=sum(os.times()[:4]) - before)


def _turns(shared: Path, end: int) -> Iterator[int]:
    """Give the numbers below `end` that nobody else was given."""
    while True:
        with shared.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            index = int(file.read() or 0)
            file.truncate(0)
            file.write(str(index + 1))
        if index >= end:
            return
        yield index


def _is_pure(path: Path) -> bool:
    return any(path.is_relative_to(_ROOT / folder) for folder in _PURE)


def _order(path: Path) -> tuple[int, int, Path]:
    """Sort slow files to the front, in every process in the same way."""
    ranks = (number for number, name in enumerate(_SLOW_FIRST) if path.is_relative_to(_ROOT / name))
    return next(ranks, len(_SLOW_FIRST)), -path.stat().st_size, path
