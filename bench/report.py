"""What the bench shows: a plain table for people, and a document for machines. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.figures import Figure, Judged, Outcome, Round, figure, judge, ratios, values
from bench.row import Contender, Metric, Row
from tlsrt import text

LEGEND = (
    "Cells: median of the rounds, +- half the distance of the quartiles; x = ours / this peer, median over the rounds.",
    "More is better for rates, less for times, CPU and memory. Goals are ratios of this run; none is asserted.",
)


def table(row: Row, outcome: Outcome) -> str:
    """Return one row as people read it."""
    ours, *peers = row.contenders
    lines = [f"{row.name}: {row.about}"]
    notes = [f"{contender.name}: {contender.note}" for contender in row.contenders if contender.note]
    lines += [f"  {line}" for note in notes for line in textwrap.wrap(note, 116)]
    cells = [["case", "", *(metric.title for metric in row.metrics)]]
    for case in row.cases:
        rounds = outcome.rounds.get(case.name, [])
        if not rounds and case.name not in {*outcome.absent, *outcome.failed}:
            continue  # not in this run
        cells.append([case.name, ours.name, *(_cell(rounds, ours, metric) for metric in row.metrics)])
        for peer in peers:
            if outcome.absent.get(case.name, {}).get(peer.name) != "":  # no reason to tell: it has nothing to do here
                cells.append(["", peer.name, *(_cell(rounds, peer, metric, ours) for metric in row.metrics)])
    lines += [f"  {line}" for line in text.table(cells, right={metric.title for metric in row.metrics})]
    lines += [f"  {goal_line(judge(row, goal, outcome))}" for goal in row.goals if goal.case in outcome.rounds]
    lines += [f"  missing {name}: {why}" for name, why in outcome.skipped.items()]
    lines += [f"  missing {name}: {why}" for whys in outcome.absent.values() for name, why in whys.items() if why]
    lines += [f"  FAILED {line}" for line in failures(outcome)]
    lines += [f"  note: {note}" for note in row.notes]
    if outcome.problem:
        lines.append(f"  PROBLEM: {outcome.problem}")
    return "\n".join(lines)


def failures(outcome: Outcome) -> list[str]:
    """Return a line for each cell that failed."""
    return [f"{name}, {case}: {why}" for case, whys in outcome.failed.items() for name, why in whys.items()]


def _cell(rounds: Sequence[Round], contender: Contender, metric: Metric, ours: Contender | None = None) -> str:
    samples = values(rounds, contender.name, metric.key)
    found = figure(samples)
    if found is None:
        return "-"
    if metric.total:
        return f"{sum(samples):.0f} in {len(samples)}"
    text = f"{found.median:,.{metric.digits}f} +-{found.spread:.0%}"
    ratio = figure(ratios(rounds, ours.name, contender.name, metric.key)) if ours else None
    return f"{text} {_ratio(ratio)}" if ratio else text


def goal_line(judged: Judged) -> str:
    """Return a goal with its measure, in a line."""
    if judged.ratio is None:
        return f"goal: {judged.text}: not measured"
    found = judged.ratio
    measured = _ratio(found) if judged.goal.peer else f"{found.median:.3g}"
    spread = f"{measured} (quartiles {found.low:.3g} to {found.high:.3g})"
    return f"goal: {judged.text}: {spread}, {'met' if judged.met else 'MISSED'}"


def _ratio(ratio: Figure) -> str:
    return f"x{ratio.median:.3f}" if ratio.median < 0.1 else f"x{ratio.median:.2f}"


def document(row: Row, outcome: Outcome) -> dict[str, Any]:
    """Return one row with every sample and its summary, as plain values for json.dumps."""
    ours, *peers = row.contenders
    return {
        "name": row.name,
        "about": row.about,
        "contenders": {contender.name: contender.note for contender in row.contenders},
        "metrics": [asdict(metric) for metric in row.metrics],
        "shown": list(row.shown),
        "goals": [asdict(judge(row, goal, outcome)) for goal in row.goals],
        "notes": list(row.notes),
        "skipped": outcome.skipped,
        "absent": outcome.absent,
        "failed": failures(outcome),
        "problem": outcome.problem,
        "cases": [
            {
                "name": case.name,
                "options": dict(case.options),
                "figures": {
                    one.name: _summary(outcome.rounds.get(case.name, []), one, row.metrics) for one in row.contenders
                },
                "ratios": {
                    peer.name: _summary(outcome.rounds.get(case.name, []), peer, row.metrics, ours) for peer in peers
                },
                "rounds": outcome.rounds.get(case.name, []),
            }
            for case in row.cases
        ],
    }


def _summary(
    rounds: Sequence[Round], contender: Contender, metrics: Sequence[Metric], ours: Contender | None = None
) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for metric in metrics:
        series = (
            ratios(rounds, ours.name, contender.name, metric.key) if ours
            else values(rounds, contender.name, metric.key)
        )  # fmt: skip
        one = figure(series)
        if one is not None:
            found[metric.key] = asdict(one)
    return found
