"""The short table of a run in Markdown, for a README: ratios to every peer, and the goals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.page import short

Document = Mapping[str, Any]


def summary(content: Document) -> str:
    """Return tables of all rows that have peers, after a line of facts."""
    about = content["about"]
    lines = [
        f"{about['date']}, {about['machine']}, {about['kernel']}, {about['python']}, {about['rounds']} rounds, load "
        f"average {about['load average'].split()[0]} at the begin.",
    ]
    for row in content["rows"]:
        if len(row["contenders"]) > 1:
            lines += ["", *_row(row)]
    return "\n".join(lines) + "\n"


def _row(row: Document) -> list[str]:
    ours, *peers = row["contenders"]
    titles = [next(metric["title"] for metric in row["metrics"] if metric["key"] == key) for key in row["shown"]]
    met = {True: "met", False: "missed", None: "not measured"}
    lines = [
        f"| **{row['name']}** | {ours}: {' / '.join(titles)} | {' | '.join(peers)} |",
        "|---" * (len(peers) + 2) + "|",
    ]
    for case in row["cases"]:
        if case["rounds"]:
            cells = [_ratios(case, peer, row["shown"]) for peer in peers]
            lines.append(f"| {case['name']} | {_values(row, case, ours)} | {' | '.join(cells)} |")
    told = [f"{goal['text']}: {met[goal['met']]}" for goal in row["goals"]]
    return [*lines, "", *([f"Goals: {'; '.join(told)}."] if told else [])]


def _values(row: Document, case: Document, ours: str) -> str:
    found: list[str] = []
    for key in row["shown"]:
        metric = next(metric for metric in row["metrics"] if metric["key"] == key)
        value = case["figures"].get(ours, {}).get(key)
        if value:
            found.append(f"{value['median']:,.{metric['digits']}f}")
    return " / ".join(found)


def _ratios(case: Document, peer: str, keys: Sequence[str]) -> str:
    found = [case["ratios"].get(peer, {}).get(key) for key in keys]
    return " / ".join(f"{short(ratio['median'])}x" for ratio in found if ratio) or "-"
