"""`tlsrt-supervisor check`: try a configuration in full, and accept or change nothing."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from tlsrt.command_line.table import Document
from tlsrt.errors import EX_CONFIG
from tlsrt.supervisor.cli.exchange import config_path

if TYPE_CHECKING:
    from tlsrt.supervisor.cli.config_trial import Trial

FORMAT = 1  # of the document


def check(arguments: argparse.Namespace) -> int:
    """Print every fault as FILE:LINE:COL and a sentence; the exit code says whether there is one."""
    from tlsrt.supervisor.cli.config_trial import Trial

    trial = Trial(config_path(arguments), time.time_ns() // 1_000_000)
    trial.run()
    document = report(trial)
    print(json.dumps(document) if arguments.json else "\n".join(lines(document)))
    return EX_CONFIG if document["faults"] else 0


def report(trial: Trial) -> Document:
    """Return what was found as plain values."""
    found: dict[bool, list[Document]] = {True: [], False: []}
    for one in trial.findings:
        found[one.is_fault].append({**one.place._asdict(), "sentence": one.sentence})
    return {
        "format": FORMAT, "configuration": str(trial.path), "faults": found[True], "warnings": found[False],
        "notes": trial.notes,
    }  # fmt: skip


def lines(document: Document) -> list[str]:
    """Return the lines for people."""
    faults, warnings = document["faults"], document["warnings"]
    rows = [_line(one, "") for one in faults]
    rows += [_line(one, "warning: ") for one in warnings]
    rows += [f"note: {note}" for note in document["notes"]]
    word = _count(faults, "fault") if faults else "no fault: a start takes this configuration"
    more = f", {_count(warnings, 'warning')}" if warnings else ""
    return [*rows, f"{word}{more}; nothing was changed"]


def _line(one: Document, before: str) -> str:
    return f"{one['file']}:{one['line']}:{one['column']}: {before}{one['sentence']}"


def _count(found: list[Document], what: str) -> str:
    return f"{len(found)} {what}{'s' * (len(found) != 1)}"
