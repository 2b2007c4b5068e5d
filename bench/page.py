"""The page of a run: the JSON document as one HTML file with plots, no scripts and nothing from elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.plots import Bar, Mark, bars, goals

Document = Mapping[str, Any]
FAR = 1e9  # times better: beyond the end of the axis

STYLE = """
:root{color-scheme:light dark;--back:#fff;--ink:#1b1f24;--dim:#667;--line:#d5d9e0;--ours:#0a66c2;--peer:#b9c2cf;
--met:#1a7f37;--missed:#c2410c;--panel:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--back:#0f1318;--ink:#e4e8ee;--dim:#95a0ae;--line:#323a45;--ours:#58a6ff;
--peer:#4a5666;--met:#3fb950;--missed:#f0883e;--panel:#171d25}}
body{background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1180px;
padding:24px}h1{font-size:24px}h2{font-size:19px;border-top:1px solid var(--line);padding-top:18px;margin-top:34px}
.dim,small{color:var(--dim)}svg{max-width:100%;height:auto;font:12.5px system-ui,sans-serif}svg text{fill:currentColor}
svg .dim{fill:var(--dim)}svg .head{font-weight:600}.ours{fill:var(--ours)}.peer{fill:var(--peer)}.met{fill:var(--met)}
.missed{fill:var(--missed)}.whisker{stroke:var(--ink);stroke-width:1.5;opacity:.6}.grid{stroke:var(--line)}
.goal{stroke:var(--ink);stroke-dasharray:3 3}.line{stroke:var(--ours);stroke-width:2}.panels{display:grid;gap:14px;
grid-template-columns:repeat(auto-fill,minmax(480px,1fr))}.panel{background:var(--panel);border-radius:6px;padding:10px;overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}td,th{padding:3px 10px;text-align:right;
border-bottom:1px solid var(--line)}td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}.wide{overflow-x:auto}
b.met{color:var(--met)}b.missed{color:var(--missed)}dt{color:var(--dim);float:left;clear:left;width:110px}
dd{margin:0 0 2px 118px}summary{cursor:pointer;margin:10px 0}
"""


def page(content: Document) -> str:
    """Return the whole page."""
    rows = content["rows"]
    body = [
        "<h1>tlsrt beside its peers</h1>",
        "<p>Every figure is the median of interleaved rounds of one run; whiskers span the quartiles. A ratio is ours "
        "/ the peer's of the same round, median over the rounds. Goals are told beside the figures, not asserted.</p>",
        _facts(content["about"]),
        _all_goals(rows),
        *(_row(row) for row in rows),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>tlsrt bench</title><style>{STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def _facts(about: Document) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in about.items()) + "</dl>"


def _measured(row: Document) -> list[Document]:
    return [judged for judged in row["goals"] if judged["ratio"] is not None]


def _more(row: Document, metric: str) -> bool:
    return any(one["key"] == metric and one["more"] for one in row["metrics"])


def _mark(row: Document, judged: Document) -> Mark:
    ratio, bound = judged["ratio"], judged["goal"]["bound"]
    median, low, high = (ratio[key] / bound for key in ("median", "low", "high"))
    if not _more(row, judged["goal"]["metric"]):
        median, low, high = (1 / value if value else FAR for value in (median, high, low))
    sign = "≥" if _more(row, judged["goal"]["metric"]) else "≤"
    peer, unit = judged["goal"]["peer"], "x" if judged["goal"]["peer"] else ""
    text = f"{short(ratio['median'])}{unit}, goal {sign} {bound:g}{unit}"
    name = f"{row['name']}: {judged['text'].rsplit(' at ', 1)[0]}{' / ' + peer if peer else ''}"
    return Mark(name, median, low, high, text)


def _all_goals(rows: Sequence[Document]) -> str:
    marks = [_mark(row, judged) for row in rows for judged in _measured(row)]
    return f"<h2>Goals</h2><div class=panel>{goals(marks)}</div>" if marks else ""


def _row(row: Document) -> str:
    shown = [case for case in row["cases"] if case["rounds"]]
    about = "".join(f"<br><b>{escape(name)}</b>: {escape(note)}" for name, note in row["contenders"].items() if note)
    missing = list(row["skipped"].items()) + [
        pair for whys in row["absent"].values() for pair in whys.items() if pair[1]
    ]
    told = [f"missing {name}: {why}" for name, why in missing] + list(row["notes"])
    told += [f"FAILED {line}" for line in row["failed"]]
    if row["problem"]:
        told.append(f"PROBLEM: {row['problem']}")
    return "".join(
        [
            f"<h2 id={escape(row['name'])}>{escape(row['name'])}</h2>",
            f"<p>{escape(row['about'])}<small>{about}</small></p>",
            "<ul>" + "".join(f"<li><small>{escape(line)}</small>" for line in told) + "</ul>" if told else "",
            "<div class=panels>",
            *(f"<div class=panel>{_panel(row, case)}</div>" for case in shown),
            f"</div><details><summary>every figure</summary><div class=wide>{_table(row, shown)}</div></details>",
            f"<small>load average {escape(row['load']['before'])} before, {escape(row['load']['after'])} after"
            f"{', beside ' + str(row['load']['loops']) + ' busy loops' if row['load']['loops'] else ''}</small>",
        ]
    )


def _panel(row: Document, case: Document) -> str:
    """The first metric that this case has, as bars, and what each costs the processor."""
    ours = next(iter(row["contenders"]))
    drawn: list[str] = []
    for metric in row["metrics"]:
        if drawn and not metric["key"].startswith("cpu_"):
            continue
        lines = [
            Bar(name, found["median"], found["low"], found["high"], _text(metric, case, name), name == ours)
            for name in row["contenders"]
            if (found := case["figures"].get(name, {}).get(metric["key"]))
        ]
        if lines:
            is_better = "more" if metric["more"] else "less"
            drawn.append(bars(case["name"], f"{metric['title']} ({is_better} is better)", lines))
    return "".join(drawn)


def _text(metric: Document, case: Document, name: str) -> str:
    found = case["figures"][name][metric["key"]]
    ratio = case["ratios"].get(name, {}).get(metric["key"])
    text = f"{found['median']:,.{metric['digits']}f}"
    return f"{text} (ours {short(ratio['median'])}x)" if ratio else text


def _table(row: Document, cases: Sequence[Document]) -> str:
    head = "".join(f"<th>{escape(metric['title'])}" for metric in row["metrics"])
    lines = [f"<tr><th>case<th>{head}"]
    for case in cases:
        for name in row["contenders"]:
            if name in case["figures"]:
                cells = "".join(f"<td>{_cell(metric, case, name)}" for metric in row["metrics"])
                lines.append(f"<tr><td>{escape(case['name'])}<td>{escape(name)}{cells}")
    for judged in _measured(row):
        word = "met" if judged["met"] else "missed"
        lines.append(
            f"<tr><td>goal<td colspan={len(row['metrics']) + 1}>{escape(judged['text'])}: "
            f"{short(judged['ratio']['median'])}{'x' if judged['goal']['peer'] else ''} <b class={word}>{word}</b>"
        )
    return f"<table>{''.join(lines)}</table>"


def _cell(metric: Document, case: Document, name: str) -> str:
    found = case["figures"][name].get(metric["key"])
    if not found:
        return "-"
    spread = (found["high"] - found["low"]) / 2 / found["median"] if found["median"] else 0.0
    return f"{_text(metric, case, name)} <small>±{spread:.0%}</small>"


def short(ratio: float) -> str:
    """Return a ratio with three figures."""
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"
