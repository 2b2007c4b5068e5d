"""Inside the process of one row: contenders up, bursts interleaved, one line of JSON to stdout for each sample.

Round by round every case is run by every contender in turn, so a ratio is always taken between bursts that ran
within seconds of each other on the same cores. The first round warms up and is dropped; a smoke run has no such
round. A peer that fails is named and left out from then on; without us there is nothing to compare, so our own
failure ends the row.
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench.row import Case, CaseMissing, Contender, PeerMissing, Row, Subject


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(1)


def emit(**fields: object) -> None:
    """Tell the process outside."""
    print(json.dumps(fields), flush=True)


def run_inside(row: Row, rounds: int, folder: Path, *, warm: bool = True) -> None:
    """Run a whole row; SIGTERM ends it in order, with everything that it started."""
    signal.signal(signal.SIGTERM, _end)
    with ExitStack() as stack:
        up = {one.name: subject for one in row.contenders if (subject := _open(one, row, folder, stack))}
        for number in range(-1 if warm else 0, rounds):
            for case in row.cases:
                for contender in row.contenders:
                    if contender.name in up and not _burst(number, case, contender, up[contender.name], row.burst_s):
                        if contender is row.contenders[0]:
                            sys.exit(1)
                        del up[contender.name]


def _open(contender: Contender, row: Row, folder: Path, stack: ExitStack) -> Subject | None:
    own = folder / contender.name.replace(" ", "-")
    own.mkdir()
    own.chmod(0o755)
    try:
        return stack.enter_context(contender.open(own))
    except PeerMissing as missing:
        emit(skipped=contender.name, why=str(missing))
    except Exception as error:
        if contender is row.contenders[0]:
            sys.exit(f"{contender.name}: {type(error).__name__}: {error}")
        emit(skipped=contender.name, why=f"does not start: {type(error).__name__}: {error}")
    return None


def _burst(number: int, case: Case, contender: Contender, subject: Subject, seconds: float) -> bool:
    """Run and tell one burst; return False if the contender has failed."""
    try:
        sample = subject.burst(case, seconds)
    except CaseMissing as missing:
        emit(absent=contender.name, case=case.name, why=str(missing))
        return True
    except Exception as error:
        print(f"{contender.name}, {case.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        emit(skipped=contender.name, why=f"failed in {case.name}: {type(error).__name__}: {error}")
        return False
    emit(round=number, case=case.name, contender=contender.name, sample=sample)
    return True
