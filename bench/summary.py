"""The short table of a run in Markdown, for bench/MEASURED.md: ratios to every peer, goals beside them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.page import short

Document = Mapping[str, Any]
MET = {True: "met", False: "missed"}


def summary(content: Document) -> str:
    """Return tables of all rows that have peers, after a line of facts."""
    about = content["about"]
    lines = [
        f"{about['date']}, commit {about['commit']}, {about['machine']}, {about['kernel']}, {about['python']}, "
        f"{about['rounds']} rounds, load average {about['load average'].split()[0]} at the begin. Cells of peers: ours "
        "/ the peer's, of the same metrics in the same order.",
    ]
    for row in content["rows"]:
        if len(row["contenders"]) > 1:
            lines += ["", *_row(row)]
    return "\n".join(lines) + "\n"


def _row(row: Document) -> list[str]:
    ours, *peers = row["contenders"]
    titles = [next(metric["title"] for metric in row["metrics"] if metric["key"] == key) for key in row["shown"]]
    lines = [
        f"| **{row['name']}** | {ours}: {' / '.join(titles)} | {' | '.join(peers)} |",
        "|---" * (len(peers) + 2) + "|",
    ]
    for case in row["cases"]:
        if case["rounds"]:
            cells = [_ratios(row, case, peer) for peer in peers]
            lines.append(f"| {case['name']} | {_values(row, case, ours)} | {' | '.join(cells)} |")
    return lines


def _values(row: Document, case: Document, ours: str) -> str:
    found: list[str] = []
    for key in row["shown"]:
        metric = next(metric for metric in row["metrics"] if metric["key"] == key)
        value = case["figures"].get(ours, {}).get(key)
        if value:
            found.append(f"{value['median']:,.{metric['digits']}f}")
    return " / ".join(found)


def _ratios(row: Document, case: Document, peer: str) -> str:
    cells: list[str] = []
    for key in row["shown"]:
        ratio = case["ratios"].get(peer, {}).get(key)
        if ratio:
            cells.append(f"{short(ratio['median'])}x{_goal(row['goals'], case['name'], peer, key)}")
    return " / ".join(cells) or "-"


def _goal(goals: Sequence[Document], case: str, peer: str, metric: str) -> str:
    for judged in goals:
        goal = judged["goal"]
        if (goal["case"], goal["peer"], goal["metric"]) == (case, peer, metric) and judged["met"] is not None:
            return f" (goal {goal['bound']:g}: {MET[judged['met']]})"
    return ""
