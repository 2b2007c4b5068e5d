"""Outside the process of one row: starts it, collects its samples, and ends it when it hangs.

What came before a hang or an error is kept, so that one bad row costs neither its own figures nor the other rows.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

from bench.figures import Outcome
from bench.processes import child
from bench.row import Row

RUN = Path(__file__).resolve().with_name("run.py")
LAST_WORDS = 600  # characters of stderr that are worth showing


def run_row(row: Row, rounds: int, note: Callable[[], None], *, smoke: bool = False) -> Outcome:
    """Run a row in a process of its own; `note` is called at each sample."""
    outcome = Outcome()
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-bench-"))
    folder.chmod(0o755)  # loops have uids of their own
    errors = folder / "errors"
    argv = [sys.executable, str(RUN), "--inside", row.name, str(rounds), "smoke" if smoke else "full", str(folder)]
    try:
        with child(argv, listen=True, errors=errors) as process:
            for line in _lines(process, row.silence_s, outcome):
                _take(json.loads(line), outcome)
                note()
            if not outcome.problem and process.wait(60):
                outcome.problem = errors.read_text()[-LAST_WORDS:].strip() or f"ended with {process.returncode}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _lines(process: Popen[bytes], silence_s: float, outcome: Outcome) -> Iterator[bytes]:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    waiting = b""
    while True:
        if not select.select([descriptor], [], [], silence_s)[0]:
            outcome.problem = f"hangs: no sample in {silence_s:g} s"
            return
        piece = os.read(descriptor, 65536)
        if not piece:
            return
        *whole, waiting = (waiting + piece).split(b"\n")
        yield from whole


def _take(message: dict[str, object], outcome: Outcome) -> None:
    if "skipped" in message:
        outcome.skipped[str(message["skipped"])] = str(message["why"])
        return
    if "failed" in message:
        outcome.failed.setdefault(str(message["case"]), {})[str(message["failed"])] = str(message["why"])
        return
    if "absent" in message:
        outcome.absent.setdefault(str(message["case"]), {})[str(message["absent"])] = str(message["why"])
        return
    number, sample = message["round"], message["sample"]
    assert isinstance(number, int)
    assert isinstance(sample, dict)
    if number >= 0:
        outcome.add(str(message["case"]), number, str(message["contender"]), sample)
