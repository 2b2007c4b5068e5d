"""Inside the process of one row: contenders up, bursts interleaved, one line of JSON to stdout for each sample.

Round by round every case is run by every contender in turn, so a ratio is always taken between bursts that ran
within seconds of each other on the same cores. The first round warms up and is dropped; a smoke run has no such
round. A contender that fails in a case is named, begun anew, and left out of that case from then on, so a failure costs
its cell and not its row. Without us there is nothing to compare: if we do not start, the row ends.
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


class _Running:
    """A contender that is up, in a folder of its own; after a failure it is put away and begun anew."""

    def __init__(self, contender: Contender, folder: Path) -> None:
        self.contender = contender
        self._folder = folder
        self._stack = ExitStack()
        self._begun = 0
        self._subject: Subject | None = None
        self._failed: set[str] = set()  # cases

    def begin(self) -> bool:
        """Start it; False, and told, if it cannot be."""
        name = self.contender.name.replace(" ", "-") + (f"-{self._begun}" if self._begun else "")
        self._begun += 1
        own = self._folder / name
        own.mkdir()
        own.chmod(0o755)
        try:
            self._subject = self._stack.enter_context(self.contender.open(own))
        except PeerMissing as missing:
            emit(skipped=self.contender.name, why=str(missing))
        except Exception as error:
            emit(skipped=self.contender.name, why=f"does not start: {_told(error)}")
        return self._subject is not None

    def burst(self, number: int, case: Case, seconds: float) -> bool:
        """Run and tell one burst; False if the contender has failed and cannot be begun anew."""
        if case.name in self._failed:
            return True
        assert self._subject is not None
        try:
            sample = self._subject.burst(case, seconds)
        except CaseMissing as missing:
            emit(absent=self.contender.name, case=case.name, why=str(missing))
        except Exception as error:
            print(f"{self.contender.name}, {case.name}: {_told(error)}", file=sys.stderr, flush=True)
            emit(failed=self.contender.name, case=case.name, why=_told(error))
            self._failed.add(case.name)
            self.end()
            return self.begin()
        else:
            emit(round=number, case=case.name, contender=self.contender.name, sample=sample)
        return True

    def end(self) -> None:
        """Put away everything that it started, also if some of it is not there any more."""
        self._subject = None
        try:
            self._stack.close()
        except Exception as error:
            print(f"{self.contender.name} does not end in order: {_told(error)}", file=sys.stderr, flush=True)


def run_inside(row: Row, rounds: int, folder: Path, *, warm: bool = True) -> None:
    """Run a whole row; SIGTERM ends it in order, with everything that it started."""
    signal.signal(signal.SIGTERM, _end)
    with ExitStack() as stack:
        up: dict[str, _Running] = {}
        for contender in row.contenders:
            running = _Running(contender, folder)
            stack.callback(running.end)
            if running.begin():
                up[contender.name] = running
            elif contender is row.contenders[0]:
                sys.exit(f"{contender.name} does not start")
        for number in range(-1 if warm else 0, rounds):
            for case in row.cases:
                for contender in row.contenders:
                    if contender.name in up and not up[contender.name].burst(number, case, row.burst_s):
                        if contender is row.contenders[0]:
                            sys.exit(f"{contender.name} does not start again")
                        del up[contender.name]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
