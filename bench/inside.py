"""Inside the process of one row: contenders up, bursts interleaved, one line of JSON to stdout for each sample.

Round by round every case is run by every contender in turn, so a ratio is always taken between bursts that ran
within seconds of each other on the same cores. The first round warms up and is dropped.
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench.row import Case, Contender, PeerMissing, Row, Subject


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(1)


def emit(**fields: object) -> None:
    """Tell the process outside."""
    print(json.dumps(fields), flush=True)


def run_inside(row: Row, rounds: int, seconds: float, folder: Path) -> None:
    """Run a whole row; SIGTERM ends it in order, with everything that it started."""
    signal.signal(signal.SIGTERM, _end)
    with ExitStack() as stack:
        up = [pair for contender in row.contenders if (pair := _open(contender, folder, stack))]
        for number in range(-1, rounds):
            for case in row.cases:
                for contender, subject in up:
                    _burst(number, case, contender, subject, seconds)


def _open(contender: Contender, folder: Path, stack: ExitStack) -> tuple[Contender, Subject] | None:
    own = folder / contender.name.replace(" ", "-")
    own.mkdir()
    try:
        return contender, stack.enter_context(contender.open(own))
    except PeerMissing as missing:
        emit(skipped=contender.name, why=str(missing))
        return None


def _burst(number: int, case: Case, contender: Contender, subject: Subject, seconds: float) -> None:
    try:
        sample = subject.burst(case, seconds)
    except Exception as error:
        sys.exit(f"{contender.name}, {case.name}: {type(error).__name__}: {error}")
    emit(round=number, case=case.name, contender=contender.name, sample=sample)
