"""The ledger of a walk: a folder of files with one JSON array a line, appended by whom it concerns.

    walk.jsonl        the walk: every fault with its begin, its end, and what was found out about the host
    caller-*.jsonl    components that call            outside-*.jsonl    clients over TLS
    journal-*.jsonl   what was executed               faulty-*.jsonl     what broke its own loop
    *.trap            the pairs of key and nonce, see `trap`

`read_ledger` makes values of it that the checker judges.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Line = list[Any]


@dataclass(slots=True)
class Call:
    """One call as its caller knows it; times in ms of CLOCK_MONOTONIC."""

    id: str
    kind: str  # plain, keyed, stream, put, get
    target: str
    sent: int
    deadline: int
    key: str = ""  # of a store
    version: int = 0
    outcome: str = ""  # empty: none was written down
    ended: int = 0
    detail: Any = None


@dataclass(slots=True)
class Life:
    """One life of a writer: it began, wrote lines, and ended in order or not."""

    writer: str
    name: str
    began: int
    last: int = 0  # the last time that it is known to have lived
    in_order: bool = False
    calls: dict[str, Call] = field(default_factory=dict[str, Call])
    stalls: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    twice: list[str] = field(default_factory=list[str])  # calls that ended twice


@dataclass(frozen=True, slots=True)
class Run:
    """One execution: by which life of which journal, and when."""

    journal: str
    life: str
    at: int


@dataclass(slots=True)
class Ledger:
    """All that was written down."""

    lives: list[Life] = field(default_factory=list[Life])
    runs: dict[str, list[Run]] = field(default_factory=dict[str, list[Run]])
    faults: list[Line] = field(default_factory=list[Line])
    findings: list[str] = field(default_factory=list[str])  # of the walk itself: leaks, orphans, second copies
    torn: list[str] = field(default_factory=list[str])
    final: dict[str, Any] = field(default_factory=dict[str, Any])  # what the store says at the end: key, version

    @property
    def calls(self) -> Iterator[Call]:
        return (call for life in self.lives for call in life.calls.values())


def read_ledger(folder: Path) -> Ledger:
    """Return the ledger in a folder."""
    ledger = Ledger()
    for path in sorted(folder.rglob("*.jsonl")):
        add_lines(ledger, path.stem, _lines(path, ledger))
    return ledger


def _lines(path: Path, ledger: Ledger) -> Iterator[Line]:
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
            except ValueError:
                ledger.torn.append(f"{path.name}:{number}")
                continue
            yield line


def add_lines(ledger: Ledger, writer: str, lines: Iterable[Line]) -> None:
    """Add what one writer wrote, in its order."""
    life = Life(writer, "", 0)
    for word, *fields in lines:
        if word == "life":
            life = Life(writer, fields[0], fields[1], fields[1])
            ledger.lives.append(life)
        elif word == "call":
            call = Call(*fields)
            life.calls[call.id] = call
            life.last = call.sent
        elif word == "end":
            _end(life, *fields)
        elif word == "run":
            ledger.runs.setdefault(fields[0], []).append(Run(writer, life.name, fields[1]))
            life.last = fields[1]
        elif word == "stall":
            life.stalls.append((fields[0], fields[1]))
            life.last = fields[1]
        elif word == "tick":
            life.last = fields[0]
        elif word == "bye":
            life.last, life.in_order = fields[0], True
        elif word == "fault":
            ledger.faults.append(fields)
        elif word == "final":
            ledger.final[fields[0]] = fields[1]
        elif word == "finding":
            ledger.findings.append(fields[0])


def _end(life: Life, name: str, outcome: str, ended: int, detail: Any = None) -> None:
    call = life.calls[name]
    if call.outcome:
        life.twice.append(name)
        return
    call.outcome, call.ended, call.detail = outcome, ended, detail
    life.last = ended
