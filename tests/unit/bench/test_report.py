"""The pure parts of the bench: figures, goals, the table and the page."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from bench.figures import Outcome, Round, figure, judge, percentile, ratios, values  # noqa: E402
from bench.page import page, short  # noqa: E402
from bench.plots import Bar, Mark, bars, goals  # noqa: E402
from bench.report import document, goal_line, table  # noqa: E402
from bench.row import Case, Contender, Goal, Metric, Row, Subject  # noqa: E402
from bench.summary import summary  # noqa: E402
from bench.trends import run_line, runs, series, trends  # noqa: E402

VOID = {"meta", "br", "path", "rect", "circle"}


@contextmanager
def nobody(folder: Path) -> Iterator[Subject]:
    raise AssertionError("nothing is opened here")
    yield


ROW = Row(
    name="sample",
    about="a <row> & its words",
    cases=(Case("small", {"size": 1}), Case("large", {"size": 9}), Case("left out")),
    contenders=(Contender("ours", nobody, "a note"), Contender("peer", nobody), Contender("gone", nobody)),
    metrics=(Metric("rate", "calls/s", more=True), Metric("us", "us", 1), Metric("lost", "lost", total=True)),
    goals=(Goal("small", "rate", "peer", 2.0), Goal("small", "us", "peer", 0.25), Goal("large", "us", "gone", 1.0)),
)


def measured() -> Outcome:
    outcome = Outcome(skipped={"gone": "it is <not> here"}, absent={"large": {"peer": "cannot"}})
    for number, (ours, peer) in enumerate(((300, 100), (400, 100), (200, 100))):
        outcome.add("small", number, "ours", {"rate": ours, "us": 2.0, "lost": 1})
        outcome.add("small", number, "peer", {"rate": peer, "us": 4.0})
        outcome.add("large", number, "ours", {"rate": 10, "us": 1.0})
    return outcome


def content() -> dict[str, Any]:
    row = {**document(ROW, measured()), "load": {"before": "0 0 0", "after": "1 1 1", "loops": 2}}
    plain: dict[str, Any] = json.loads(json.dumps({"about": {"machine": "a <b>"}, "rows": [row]}))
    return plain


def test_figure_is_the_median_with_quartiles() -> None:
    found = figure([4, 1, 3, 2, 5])
    assert found is not None
    assert (found.low, found.median, found.high) == (2, 3, 4)
    assert found.spread == pytest.approx(1 / 3)
    assert figure([]) is None
    alone = figure([7])
    assert alone is not None and (alone.low, alone.median, alone.high, alone.spread) == (7, 7, 7, 0)


def test_percentile_stays_inside() -> None:
    assert [percentile([1, 2, 3, 4], part) for part in (0, 0.5, 0.99, 1)] == [1, 3, 4, 4]


def test_ratios_pair_the_same_round_only() -> None:
    rounds: list[Round] = [
        {"ours": {"rate": 6.0}, "peer": {"rate": 3.0}},
        {"ours": {"rate": 6.0}},
        {"peer": {"rate": 1.0}},
    ]
    assert ratios(rounds, "ours", "peer", "rate") == [2.0]
    assert values(rounds, "ours", "rate") == [6.0, 6.0]
    nothing: list[Round] = [{"ours": {"rate": 6.0}, "peer": {"rate": 0.0}}]
    assert ratios(nothing, "ours", "peer", "rate") == []


def test_goals_are_judged_by_what_is_better() -> None:
    judged = [judge(ROW, goal, measured()) for goal in ROW.goals]
    assert [one.met for one in judged] == [True, False, None]
    assert goal_line(judged[0]).endswith("x3.00 (quartiles 2.5 to 3.5), met")
    assert goal_line(judged[1]).endswith("MISSED")
    assert goal_line(judged[2]).endswith("not measured")


def test_table_names_what_is_missing_and_shows_only_what_ran() -> None:
    text = table(ROW, measured())
    assert "missing gone: it is <not> here" in text
    assert "missing peer: cannot" in text
    assert "left out" not in text
    assert re.search(r"ours +300 \+-17%", text)
    assert re.search(r"peer +100 \+-0% x3\.00 +4\.0 \+-0% x0\.50", text)
    assert "3 in 3" in text
    assert max(map(len, text.splitlines())) < 160


def test_a_row_without_figures_is_a_table_too() -> None:
    assert "PROBLEM: it hangs" in table(ROW, Outcome(problem="it hangs"))


class Checker(HTMLParser):
    """Fails on a tag that is not closed or nested well, and collects what refers elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elsewhere: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elsewhere += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag in ("script", "link", "iframe", "img"):
            self.elsewhere.append(tag)
        if tag not in VOID and tag not in ("tr", "td", "th", "li", "dt", "dd"):  # HTML closes the latter by itself
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.stack:
            assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_whole_and_refers_to_nothing() -> None:
    html = page(content())
    checker = Checker()
    checker.feed(html)
    assert checker.elsewhere == []
    assert checker.stack in ([], ["html", "body"])
    assert "url(" not in html and "@import" not in html
    assert "prefers-color-scheme:dark" in html
    for said in ("a <row> & its words", "it is <not> here", "a <b>", "beside 2 busy loops"):
        assert said in checker.text
    assert "<row>" not in html
    assert html.count("<svg") == 3  # goals and two cases


def test_bars_reach_as_far_as_their_value() -> None:
    svg = bars("case", "us", [Bar("ours", 50, 40, 100, "50", ours=True), Bar("peer", 100, 100, 100, "100")])
    assert re.findall(r'class="(\w+)" x="150" y="\d+" width="(\d+)"', svg) == [("ours", "115"), ("peer", "230")]


def test_goals_lie_right_of_the_middle_when_met() -> None:
    svg = goals([Mark("a", 10, 9, 11, ""), Mark("b", 0.001, 0.0, 0.002, "")])
    places = [(kind, float(x)) for kind, x in re.findall(r'class="(met|missed)" cx="([\d.]+)"', svg)]
    assert places == [("met", 790.0), ("missed", 520.0)]


def test_short() -> None:
    assert [short(value) for value in (0.01234, 0.5, 12.3, 1234.5)] == ["0.012", "0.50", "12", "1,234"]


def test_a_shortened_row_keeps_only_what_fits_together() -> None:
    row = replace(ROW, smoke_cases=("small",), smoke_contenders=("ours", "gone")).shortened()
    assert [case.name for case in row.cases] == ["small"]
    assert [contender.name for contender in row.contenders] == ["ours", "gone"]
    assert row.goals == ()
    assert ROW.shortened().burst_s == ROW.smoke_burst_s


def test_summary_has_a_line_for_each_case_that_ran() -> None:
    about = {
        "date": "today", "commit": "c", "machine": "m", "kernel": "k", "python": "p", "rounds": 3,
        "load average": "0.50 0.4 0.3",
    }  # fmt: skip
    text = summary({**content(), "about": about})
    assert "load average 0.50 at the begin" in text
    assert "| **sample** | ours: calls/s | peer | gone |\n|---|---|---|---|\n" in text
    assert "| small | 300 | 3.00x (goal 2: met) | - |" in text
    assert "| large | 10 | - | - |" in text
    assert "left out" not in text


def test_a_goal_without_a_peer_is_about_our_own_figure() -> None:
    row = replace(ROW, goals=(Goal("small", "us", "", 3.0), Goal("small", "rate", "", 1000.0)))
    judged = [judge(row, goal, measured()) for goal in row.goals]
    assert [one.met for one in judged] == [True, False]
    assert goal_line(judged[0]) == "goal: small: us at most 3: 2 (quartiles 2 to 2), met"


def test_the_page_draws_what_each_costs_the_processor_beside_the_rate() -> None:
    metrics = (Metric("rate", "calls/s", more=True), Metric("us", "us"), Metric("cpu_us", "CPU us/call"))
    outcome = measured()
    for one in outcome.rounds["small"]:
        one["ours"] = {**one["ours"], "cpu_us": 7.0}
    row = {**document(replace(ROW, metrics=metrics, goals=()), outcome)}
    html = page({"about": {}, "rows": [{**row, "load": {"before": "", "after": "", "loops": 0}}]})
    assert html.count("<svg") == 3 and "CPU us/call (less is better)" in html and "us (less" not in html.split("CPU")[0]


def _run(date: str, machine: str = "this one", rounds: int = 9) -> dict[str, Any]:
    about = {"date": date, "commit": "abc", "machine": machine, "python": "CPython", "rounds": rounds}
    return {**content(), "about": {**about, "load average": "0.10 0.20 0.30"}}


def test_trends_join_runs_of_one_machine_only(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text(json.dumps(run_line(_run("2026-01-01 00:00 UTC"))) + "\n")
    for number, run in enumerate((
        _run("2026-01-01 00:00 UTC"), _run("2026-01-03 00:00 UTC", "<another>"), _run("2026-01-02 00:00 UTC"),
        _run("2026-01-04 00:00 UTC", rounds=1),
    )):  # fmt: skip
        (tmp_path / f"{number}.json").write_text(json.dumps(run))
    found = runs(tmp_path, history)
    assert [run["about"]["date"][:10] for run in found] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    first = series(found)[0]
    assert (first.name, first.unit, first.bound, first.more) == ("sample, small, calls/s / peer", "x", 2.0, True)
    assert [point.value for point in first.points] == [3.0, 3.0, 3.0]
    html = trends(found)
    assert "3.00x, goal ≥ 2x: met" in html and "<another>" not in html
    assert html.count('class="line"') == len(series(found)), "the third run is of another machine"


def test_there_are_no_trends_without_runs(tmp_path: Path) -> None:
    assert runs(tmp_path, tmp_path / "history.jsonl") == []
    assert "0 runs" in trends([])
