"""`tlsrt-supervisor anomalies` and `quarantine`: scores, detectors, responses in force."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable

from tlsrt.channels.client.event_line import event_line, is_coloured
from tlsrt.command_line.fitted import fitted_table, shown_at, terminal_width
from tlsrt.command_line.table import Document
from tlsrt.errors import EX_UNAVAILABLE
from tlsrt.supervisor.cli.events import LAST
from tlsrt.supervisor.cli.exchange import ask, connect, host_of, say
from tlsrt.text import duration, printable

NAMES = frozenset(
    {"detected", "response", "response_ended", "would_respond", "anomaly", "violation", "difference", "offence"}
)
ID_SHOWN = 8
_COLUMNS = ("DETECTOR", "FOUND", "COUNTED", "POINTS", "WHAT")
_STEPS = ("LEFT", "RESPONSE", "TO", "FOR", "WHAT")


def anomalies(arguments: argparse.Namespace) -> Document | int:
    """Ask for the scores, or follow the events of the detectors."""
    return _follow(arguments) if arguments.follow else ask(host_of(arguments), "anomalies")


def _follow(arguments: argparse.Namespace) -> int:
    colour = is_coloured(sys.stdout.isatty(), os.environ)
    name = ""
    with connect(host_of(arguments)) as client:
        for event in client.follow("events", follow=True, since=0, kinds=["security", "lifecycle"]):
            name = event.get("name", name)
            if name in NAMES or "dropped" in event:
                print(json.dumps(event) if arguments.json else event_line(event, colour=colour), flush=True)
    if name != LAST:
        say("the stream has ended: tlsrt was killed, or this reader was too slow")
        return EX_UNAVAILABLE
    return 0


def anomaly_lines(answer: Document) -> list[str]:
    """Return scores, responses in force, and what the detectors found."""
    lines = [] if answer["mode"] == "act" else [f"mode {answer['mode']}: no response is applied", ""]
    if answer["scores"]:
        lines += fitted_table([("SCORE", "CHARGED"), *_score_rows(answer["scores"])], {"SCORE"}, cut="CHARGED")
    else:
        lines.append("no scores")
    if answer["steps"]:
        lines += ["", *_step_lines(answer["steps"])]
    found = [one for one in answer["detectors"] if one["found"]]
    if found:
        rows = [_COLUMNS, *map(_detector_row, found)]
        lines += ["", *fitted_table(rows, set(_COLUMNS[1:4]), least=("POINTS", "COUNTED"), cut="WHAT")]
    return lines


def _score_rows(scores: Iterable[Document]) -> list[tuple[str, str]]:
    """Return one row for each client, with its highest score: it is the one that measures follow from."""
    rows: list[tuple[Document, int]] = []
    places: dict[str, int] = {}
    for one in scores:  # the highest first
        subject = one.get("subject", "") if one["kind"] == "session" else ""
        place = places.get(subject) if subject else None
        if place is not None:
            rows[place] = rows[place][0], rows[place][1] + 1
            continue
        if subject:
            places[subject] = len(rows)
        rows.append((one, 1))
    return [
        (f"{one['score']:.0f}", f"{one['subject']}: {count} sessions" if count > 1 else _subject(one))
        for one, count in rows
    ]


def _detector_row(one: Document) -> tuple[str, ...]:
    mode = "" if one["mode"] == "act" else f" ({one['mode']})"
    return one["name"], str(one["found"]), str(one["counted"]), str(one["points"]), f"{one['about']}{mode}"


def quarantine(arguments: argparse.Namespace) -> int:
    """Print the responses in force."""
    steps = ask(host_of(arguments), "anomalies")["steps"]
    with shown_at(terminal_width(is_wide=arguments.wide)):
        lines = _step_lines(steps) if steps else ["no response in force"]
    print(json.dumps(steps, indent=2) if arguments.json else "\n".join(lines))
    return 0


def released_lines(answer: Document) -> list[str]:
    return [f"released {one['subject']}" for one in answer["subjects"]]


def _step_lines(steps: Iterable[Document]) -> list[str]:
    rows = [
        (
            duration(one["left_ms"] / 1000), f"{one['step']}{' (observed only)' if one['observed'] else ''}",
            _subject(one), one["detector"], printable(one["what"]),
        )
        for one in steps
    ]  # fmt: skip
    return fitted_table([_STEPS, *rows], {"LEFT"}, least=("FOR",), cut="WHAT")


def _subject(one: Document) -> str:
    subject = one.get("subject", "")
    value = printable(one["value"])
    if one["kind"] == "session" and len(value) == 32:
        return f"session {value[:ID_SHOWN]}" + (f" of {subject}" if subject else "")
    return value if one["kind"] == "session" else f"{one['kind']} {value}"
