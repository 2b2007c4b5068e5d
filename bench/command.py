"""The command line of the bench: which rows, how long, beside what load; progress, tables and the JSON file."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.inside import run_inside
from bench.machine import facts, load
from bench.outside import run_row
from bench.processes import busy_loops
from bench.report import LEGEND, document, table
from bench.row import Row
from bench.rows import ROWS

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS, SMOKE_ROUNDS = 9, 2
BAR = 24


class Progress:
    """One line on standard error, rewritten; silent where nobody looks."""

    def __init__(self, rows: Sequence[Row], rounds: int) -> None:
        self._total = sum((rounds + 1) * len(row.cases) * len(row.contenders) for row in rows)
        self._done = 0
        self._row = ""
        self._begin = time.monotonic()
        self._shown = sys.stderr.isatty()

    def row(self, name: str) -> None:
        self._row = name
        self._show()

    def step(self) -> None:
        self._done += 1
        self._show()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")

    def _show(self) -> None:
        if self._shown:
            part = min(1.0, self._done / self._total)
            bar = ("#" * round(part * BAR)).ljust(BAR, ".")
            spent = time.monotonic() - self._begin
            sys.stderr.write(f"\r\x1b[K[{bar}] {part:4.0%}  {spent:4.0f} s  {self._row}")
            sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench and return 0 if every row gave its figures; no figure is judged."""
    arguments = _parser().parse_args(argv)
    if arguments.inside:
        name, rounds, seconds, folder = arguments.inside
        run_inside(_named(name), int(rounds), float(seconds), Path(folder))
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that everything is put away
    rows = [_named(name) for name in arguments.row] or list(ROWS)
    rounds = arguments.rounds or (SMOKE_ROUNDS if arguments.smoke else ROUNDS)
    about: dict[str, Any] = {**facts(), "rounds": rounds, "busy loops": arguments.load}
    print("\n".join(f"{title}: {value}" for title, value in about.items()), *LEGEND, sep="\n", end="\n\n", flush=True)
    progress = Progress(rows, rounds)
    results: list[dict[str, Any]] = []
    with busy_loops(arguments.load):
        for row in rows:
            progress.row(row.name)
            before = load()
            outcome = run_row(row, rounds, row.smoke_burst_s if arguments.smoke else row.burst_s, progress.step)
            progress.clear()
            print(table(row, outcome), f"  load average: {before} before, {load()} after\n", sep="\n", flush=True)
            results.append({**document(row, outcome), "load": {"before": before, "after": load()}})
    path = _write({"about": about, "rows": results})
    print(f"written: {path}")
    return 1 if any(result["problem"] for result in results) else 0


def _write(content: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def _named(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measures tlsrt beside its peers.")
    names = [row.name for row in ROWS]
    parser.add_argument("--row", action="append", default=[], choices=names, help="only this row (may be repeated)")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds of each row (default {ROUNDS})")
    parser.add_argument("--smoke", action="store_true", help="short bursts and few rounds: under a minute")
    parser.add_argument("--load", type=int, default=0, metavar="N", help="run so many busy loops beside it")
    parser.add_argument("--inside", nargs=4, help=argparse.SUPPRESS)
    return parser
