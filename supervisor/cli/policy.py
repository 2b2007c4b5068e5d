"""`policy graph`: who may call whom, as lines or as a picture for Graphviz, and what was really called of it.

What was called is counted by the gate, which is in Primary. The supervisor reads no text of a loop, so the counts come
as a client has read them: `tlsrt call primary/events called --json | tlsrt-supervisor policy graph --used -`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tlsrt.command_line.fitted import fitted_table, shown_at, terminal_width
from tlsrt.config.access import PolicyRule, matches
from tlsrt.config.processes import loop_of_address
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.exchange import config_of
from tlsrt.text import ascii_only

_EVERY = "*"
_COUNTS_MOST = 1 << 20  # bytes of counts, which are those of a few pages
_WORD_SHOWN = 80


class CalledCount(NamedTuple):
    """How often one subject has called one method, and was refused it by policy."""

    source: str
    target: str
    method: str
    calls: int
    refused: int


class CalledCounts(NamedTuple):
    """What a gate has counted."""

    since_ms: int
    rows: Sequence[CalledCount]
    is_whole: bool


def graph(arguments: argparse.Namespace) -> int:
    """Print the policy of the configuration, with the lines that packages and tlsrt bring."""
    config = config_of(arguments)
    if arguments.used is not None:
        counts = parse_counts_untrusted(_read(arguments.used))
        with shown_at(terminal_width(is_wide=arguments.wide)):
            print("\n".join(used_lines(config.policy, counts)))
        return 0
    addresses = [one.address for one in config.components]
    with shown_at(terminal_width(is_wide=arguments.wide)):
        print("\n".join(dot(config.policy, addresses) if arguments.dot else rule_lines(config.policy)))
    return 0


def rule_lines(rules: Iterable[PolicyRule]) -> list[str]:
    """Return a line for each pair, by who calls."""
    rows = sorted((source, target, ", ".join(methods)) for (source, target), methods in _joined(rules).items())
    return fitted_table([("WHO", "MAY CALL", "METHODS"), *rows], cut="METHODS")


def used_lines(rules: Iterable[PolicyRule], counts: CalledCounts) -> list[str]:
    """Return a line for each pair that was called or refused, and for each that may and never did."""
    joined = _joined(rules)
    left = {pair: {*methods} for pair, methods in joined.items()}
    used: set[tuple[str, str]] = set()
    found: dict[tuple[str, str], list[CalledCount]] = {}
    owned: set[tuple[str, str]] = set()  # by a right that no line of the configuration gives
    for row in counts.rows:
        found.setdefault((row.source, row.target), []).append(row)
        pairs = [pair for pair in joined if matches(pair[0], row.source) and matches(pair[1], row.target)]
        if not pairs:
            owned.add((row.source, row.target))
        for pair in pairs if row.calls else ():
            used.add(pair)
            left[pair].discard(row.method)
    rows: list[tuple[str, str, str, str]] = []
    for pair in sorted({*found, *joined}):
        never = sorted(left.get(pair, ()))
        if never == [_EVERY] and pair in used:
            never = []
        called = ", ".join(map(_count_text, found.get(pair, ())))
        if called or never:
            own = " (by a right of its own)" if pair in owned else ""
            rows.append((*pair, (called or "-") + own, ", ".join(never) or "-"))
    moment = datetime.fromtimestamp(counts.since_ms / 1000, UTC)
    head = f"counted by the gate since {moment:%Y-%m-%d %H:%M:%S}Z"
    if not counts.is_whole:
        head += "; this is one page of the counts: the others are left out, and may have what seems to be never used"
    return [head, *fitted_table([("WHO", "WHOM", "CALLED", "NEVER USED SINCE"), *rows], cut="CALLED")]


def parse_counts_untrusted(text: str) -> CalledCounts:
    """Return what `called` of primary/events has answered; raise ConfigError for anything else."""
    try:
        document = json.loads(text)
        rows = [CalledCount(*row) for row in document["called"]]
        since = document["since"]
        words = [word for row in rows for word in row[:3]]
        numbers = [since, *(number for row in rows for number in row[3:])]
        if not all(isinstance(word, str) and len(word) <= 2 * _WORD_SHOWN for word in words):
            raise ValueError
        if not all(type(number) is int and 0 <= number < 1 << 53 for number in numbers):
            raise ValueError
        datetime.fromtimestamp(since / 1000, UTC)
        shown = [
            CalledCount(
                ascii_only(row.source, _WORD_SHOWN), ascii_only(row.target, _WORD_SHOWN),
                ascii_only(row.method, _WORD_SHOWN), row.calls, row.refused,
            )
            for row in rows
        ]  # fmt: skip
        return CalledCounts(since, shown, is_whole=document["next"] is None)
    except (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
        hint = "tlsrt call primary/events called --json | tlsrt-supervisor policy graph --used -"
        raise ConfigError(f"these are no counts of a gate; make them with `{hint}`") from None


def _count_text(row: CalledCount) -> str:
    return f"{row.method} {row.calls}" + (f" (refused {row.refused})" if row.refused else "")


def _read(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read(_COUNTS_MOST)
        with Path(path).open(encoding="utf-8") as file:
            return file.read(_COUNTS_MOST)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"cannot read {path}: {why}") from None


def dot(rules: Iterable[PolicyRule], addresses: Iterable[str]) -> list[str]:
    """Return a graph in the language of Graphviz: a box for each loop with its components, an arrow for each line."""
    joined = _joined(rules)
    named = {side for pair in joined for side in pair}
    loops: dict[str, list[str]] = {}
    for name in sorted({*addresses, *named}):
        loops.setdefault(loop_of_address(name), []).append(name)
    found = ["digraph policy {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for loop, names in loops.items():
        found += [f"  subgraph {_text(f'cluster_{loop}')} {{", f"    label={_text(loop)};"]
        shape = " [shape=ellipse]" if loop == "client" else ""
        found += [f"    {_text(name)}{shape};" for name in names]
        found.append("  }")
    for (source, target), methods in sorted(joined.items()):
        label = "all" if _EVERY in methods else "\\n".join(methods)
        found.append(f"  {_text(source)} -> {_text(target)} [label={_text(label, is_label=True)}];")
    return [*found, "}"]


def _joined(rules: Iterable[PolicyRule]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for rule in rules:
        methods = found.setdefault((rule.source, rule.target), [])
        methods += [method for method in rule.methods if method not in methods]
    return found


def _text(text: str, *, is_label: bool = False) -> str:
    """Return a quoted string of the language; a label keeps its `\\n`, which breaks the line."""
    escaped = text if is_label else text.replace("\\", "\\\\")
    return '"' + escaped.replace('"', '\\"') + '"'
