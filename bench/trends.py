"""One page of trends: what each goal measured in one run after another, and what a call cost. Pure, but for `runs`.

A run is kept as one line of JSON (`run_line`): in bench/history.jsonl if it is to be remembered, and all that lie in
the folder of results are shown beside these. Only runs of one machine and one Python are joined by a line: a figure
of another machine says nothing about the one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from bench.page import STYLE, short
from bench.plots import Point, trend

Document = Mapping[str, Any]
Run = Mapping[str, Any]
HISTORY = Path(__file__).resolve().with_name("history.jsonl")
FACTS = ("date", "commit", "machine", "python", "rounds", "load average")
ROUNDS_MIN = 3  # of a run that is worth remembering: one round judges nothing
COST = ("cpu_us", "cpu_ns", "cpu_us_s", "pss_mib", "wakes")  # of ours, where a row has them


class Series(NamedTuple):
    """One figure over runs, oldest first; `bound` is its goal, if it has one."""

    name: str
    unit: str
    points: tuple[Point, ...]
    bound: float | None
    more: bool


def run_line(content: Document) -> Run:
    """Return what is remembered of a run: its facts, its goals, and what ours cost in each case."""
    return {
        "about": {name: content["about"].get(name, "") for name in FACTS},
        "goals": [_goal(row, judged) for row in content["rows"] for judged in row["goals"] if judged["ratio"]],
        "costs": [cost for row in content["rows"] for cost in _costs(row)],
    }


def _goal(row: Document, judged: Document) -> list[Any]:
    goal = judged["goal"]
    metric = next(metric for metric in row["metrics"] if metric["key"] == goal["metric"])
    name = f"{row['name']}, {goal['case']}, {metric['title']}"
    return [name, goal["peer"], _rounded(judged["ratio"]["median"]), goal["bound"], metric["more"]]


def _costs(row: Document) -> Iterable[list[Any]]:
    ours = next(iter(row["contenders"]))
    for case in row["cases"]:
        for metric in row["metrics"]:
            found = case["figures"].get(ours, {}).get(metric["key"])
            if found and metric["key"] in COST:
                yield [f"{row['name']}, {case['name']}", metric["title"], _rounded(found["median"])]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def runs(results: Path, history: Path = HISTORY) -> list[Run]:
    """Read the runs that are remembered and those of a folder of results, oldest first; one that stands twice once."""
    found: dict[tuple[str, str, str], Run] = {}
    lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
    for run in (*map(json.loads, lines), *map(_read, sorted(results.glob("*.json")))):
        about = run["about"]
        if int(about["rounds"]) >= ROUNDS_MIN and (run["goals"] or run["costs"]):
            found[about["date"], about["commit"], str(run["goals"][:1])] = run
    return sorted(found.values(), key=lambda run: str(run["about"]["date"]))


def _read(path: Path) -> Run:
    return run_line(json.loads(path.read_text(encoding="utf-8")))


def series(remembered: Sequence[Run]) -> list[Series]:
    """Return a series for each goal, and then one for each cost, of the goals and cases of the newest runs first."""
    goals: dict[tuple[str, str], tuple[list[Point], float, bool]] = {}
    costs: dict[tuple[str, str], list[Point]] = {}
    for run in remembered:
        about = run["about"]
        place = f"{about['machine']}, {about['python']}"
        label = f"{about['date']}, {about['commit']}, load {str(about['load average']).partition(' ')[0]}"
        for name, peer, median, bound, more in run["goals"]:
            points = goals[name, peer][0] if (name, peer) in goals else []
            points.append(Point(median, label, place))
            goals[name, peer] = points, bound, more  # the bound of the newest run
        for name, title, median in run["costs"]:
            costs.setdefault((name, title), []).append(Point(median, label, place))
    return [
        *(
            Series(f"{name}{' / ' + peer if peer else ''}", "x" if peer else "", tuple(points), bound, more)
            for (name, peer), (points, bound, more) in goals.items()
        ),
        *(Series(f"{name}, {title}", "", tuple(points), None, False) for (name, title), points in costs.items()),
    ]


def trends(remembered: Sequence[Run]) -> str:
    """Return the page."""
    parts = [_part(one) for one in series(remembered)]
    told = f"{len(remembered)} runs of {ROUNDS_MIN} rounds and more. A line joins runs of one machine and one Python."
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>tlsrt bench: trends</title><style>{STYLE}</style><body><h1>What was measured, run after run</h1>"
        f"<p>{escape(told)} The dashed line is the goal.</p><div class=panels>{''.join(parts)}</div></body></html>\n"
    )


def _part(one: Series) -> str:
    last = one.points[-1]
    value = f"{short(last.value)}{one.unit}"
    if one.bound is None:
        return f"<div class=panel>{trend(one.name, value, one.points, None)}</div>"
    is_met = last.value >= one.bound if one.more else last.value <= one.bound
    goal = f"goal {'≥' if one.more else '≤'} {one.bound:g}{one.unit}: {'met' if is_met else 'missed'}"
    return f"<div class=panel>{trend(one.name, f'{value}, {goal}', one.points, one.bound)}</div>"
