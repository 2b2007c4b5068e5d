"""The command line of the bench: which rows, how long, beside what load; progress, tables, JSON and the page."""

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
from bench.page import page
from bench.processes import busy_loops
from bench.report import LEGEND, document, table
from bench.row import Row
from bench.rows import ROWS
from bench.summary import summary
from bench.trends import HISTORY, run_line, runs, trends

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS, SMOKE_ROUNDS = 9, 1
BAR = 24


class Progress:
    """One line on standard error, rewritten; silent where nobody looks."""

    def __init__(self, steps: int) -> None:
        self._total = max(1, steps)
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
        name, rounds, how, folder = arguments.inside
        smoke = how == "smoke"
        run_inside(_named(name, smoke=smoke), int(rounds), Path(folder), warm=not smoke)
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that everything is put away
    rows = [_named(name, smoke=arguments.smoke) for name in arguments.row or [row.name for row in ROWS]]
    about: dict[str, Any] = {**facts(), "rounds": _rounds(arguments, None), "busy loops": arguments.load}
    print("\n".join(f"{title}: {value}" for title, value in about.items()), *LEGEND, sep="\n", end="\n\n", flush=True)
    results = _run(rows, arguments)
    content = {"about": about, "rows": results}
    for path in _write(content, arguments.out):
        print(f"written: {path}")
    if arguments.record:
        with HISTORY.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run_line(content), separators=(",", ":")) + "\n")
        print(f"remembered in: {HISTORY}")
    failed = any(result["problem"] or result["failed"] for result in results)
    missing = arguments.strict and any(result["skipped"] for result in results)
    return 1 if failed or missing else 0


def _run(rows: Sequence[Row], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    smoke = arguments.smoke
    progress = Progress(sum((_rounds(arguments, row) + 1) * len(row.cases) * len(row.contenders) for row in rows))
    results: list[dict[str, Any]] = []
    for row in rows:
        progress.row(row.name)
        before = load()
        begin = time.monotonic()
        with busy_loops(arguments.load + row.load):
            outcome = run_row(row, _rounds(arguments, row), progress.step, smoke=smoke)
        spent = time.monotonic() - begin
        progress.clear()
        print(
            table(row, outcome),
            f"  load average: {before} before, {load()} after; {spent:.0f} s\n",
            sep="\n",
            flush=True,
        )
        results.append({**document(row, outcome), "load": {"before": before, "after": load(), "loops": row.load}})
    return results


def _rounds(arguments: argparse.Namespace, row: Row | None) -> int:
    if arguments.rounds:
        return int(arguments.rounds)
    return SMOKE_ROUNDS if arguments.smoke else min(ROUNDS, row.rounds_max if row else ROUNDS)


def _write(content: dict[str, Any], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    texts = {".json": json.dumps(content, indent=1) + "\n", ".html": page(content), ".md": summary(content)}
    for suffix, text in texts.items():
        base.with_suffix(suffix).write_text(text)
    everything = folder / "trends.html"
    everything.write_text(trends(runs(folder)))
    return [*(base.with_suffix(suffix) for suffix in texts), everything]


def _named(name: str, *, smoke: bool) -> Row:
    row = next(row for row in ROWS if row.name == name)
    return row.shortened() if smoke else row


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measures tlsrt beside its peers.")
    names = [row.name for row in ROWS]
    parser.add_argument("--row", action="append", default=[], choices=names, help="only this row (may be repeated)")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds of each row (default {ROUNDS})")
    parser.add_argument("--smoke", action="store_true", help="short bursts and one round: under a minute")
    parser.add_argument("--strict", action="store_true", help="a peer that is missing is a failure (for CI)")
    parser.add_argument("--load", type=int, default=0, metavar="N", help="run so many busy loops beside it")
    parser.add_argument("--record", action="store_true", help="remember it in bench/history.jsonl, for the trends")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file and the page")
    parser.add_argument("--inside", nargs=4, help=argparse.SUPPRESS)
    return parser
