"""The judge finds each rule broken, once, and nothing in a ledger where all is well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chaos.checker import NEVER_RAN, SLACK_MS, check, figures
from chaos.ledger import Ledger, add_lines, read_ledger

CALLER, JOURNAL = "caller-third", "journal-secondary-journal"
Lines = list[list[Any]]
# One of each kind, all well; times in ms.
GOOD: Lines = [
    ["life", "aa", 1000],
    ["call", "c1", "plain", "secondary/journal", 1000, 4000],
    ["call", "c2", "keyed", "secondary/journal", 1001, 4001],
    ["end", "c1", "ok", 1010],
    ["end", "c2", "ok", 1020],
    ["call", "c3", "stream", "secondary/journal", 1100, 61100],
    ["end", "c3", "ok", 1400],
    ["call", "c4", "plain", "secondary/journal", 1500, 4500],
    ["end", "c4", "outcome_unknown", 2000, "it went down"],
    ["call", "c5", "plain", "secondary/journal", 1600, 4600],
    ["end", "c5", "unavailable", 2000, "it was not there"],
    ["call", "p1", "put", "secondary/store", 2000, 7000, "k", 1],
    ["end", "p1", "ok", 2010],
    ["call", "p2", "put", "secondary/store", 2020, 7020, "k", 2],
    ["end", "p2", "failed", 2030, "the disk is full"],
    ["call", "g1", "get", "secondary/store", 2040, 7040, "k", 0],
    ["end", "g1", "ok", 2050, 1],
    ["call", "p3", "put", "secondary/store", 2060, 7060, "k", 3],
    ["end", "p3", "deadline", 7060],
    ["call", "g2", "get", "secondary/store", 7070, 12070, "k", 0],
    ["end", "g2", "ok", 7080, 3],
    ["call", "g3", "get", "secondary/store", 7090, 12090, "never written", 0],
    ["end", "g3", "not_found", 7099],
    ["bye", 7100],
]
RUNS: Lines = [
    ["life", "jj", 900], ["run", "c1", 1005], ["run", "c2", 1006], ["run", "c3", 1101], ["run", "c4", 1501],
    ["bye", 7200],
]  # fmt: skip
WALK: Lines = [["life", "ww", 800], ["final", "k", 3], ["bye", 8000]]


def judged(
    caller: Lines = GOOD, runs: Lines = RUNS, walk: Lines = WALK, more: dict[str, Lines] | None = None
) -> list[str]:
    ledger = Ledger()
    for writer, lines in {CALLER: caller, JOURNAL: runs, "walk": walk, **(more or {})}.items():
        add_lines(ledger, writer, lines)
    return check(ledger)


def without(lines: Lines, *dropped: list[Any]) -> Lines:
    assert all(line in lines for line in dropped)
    return [line for line in lines if line not in dropped]


def instead(lines: Lines, old: list[Any], *new: list[Any]) -> Lines:
    at = lines.index(old)
    return [*lines[:at], *new, *lines[at + 1 :]]


def test_all_is_well() -> None:
    assert judged() == []


OK1, LOST4, AWAY5 = ["end", "c1", "ok", 1010], ["end", "c4", "outcome_unknown", 2000, "it went down"], GOOD[10]
READ, LATE = ["end", "g2", "ok", 7080, 3], ["end", "p3", "deadline", 7060]
KEPT = instead(GOOD, LATE, ["end", "p3", "ok", 7060])
AGAIN: Lines = [*GOOD[:-1], ["call", "g4", "get", "s", 7100, 9000, "k", 0], ["end", "g4", "ok", 7101, 1], ["bye", 7102]]


@pytest.mark.parametrize(
    ("caller", "words"),
    [
        (without(GOOD, OK1), "c1 to secondary/journal was never answered"),
        (instead(GOOD, OK1, OK1, ["end", "c1", "ok", 1011]), "c1 ended twice"),
        (instead(GOOD, OK1, ["end", "c1", "untyped", 1010, "OSError()"]), "without a type"),
        (instead(GOOD, OK1, ["end", "c1", "wrong", 1010, "c2"]), "c1 to secondary/journal got a wrong answer"),
        (instead(GOOD, AWAY5, ["end", "c5", "denied", 2000]), "for which there was no reason"),
        (instead(GOOD, OK1, ["end", "c1", "deadline", 4001 + SLACK_MS]), "after its deadline"),
        (instead(GOOD, GOOD[6], ["end", "c3", "deadline", 61101 + SLACK_MS]), "after its deadline"),
        (instead(GOOD, READ, ["end", "g2", "not_found", 7080]), "was acknowledged, and is lost"),
        (instead(GOOD, READ, ["end", "g2", "ok", 7080, 2]), "never written or not acknowledged"),
        (
            instead(instead(GOOD, LATE, ["end", "p3", "ok", 7060]), READ, ["end", "g2", "ok", 7080, 1]),
            "back at version 1",
        ),
        (AGAIN, "back at version 1, after 3"),
    ],
)
def test_what_a_caller_is_told(caller: Lines, words: str) -> None:
    [finding] = judged(caller)
    assert words in finding


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (without(RUNS, ["run", "c1", 1005]), "c1 to secondary/journal was answered, but it never ran"),
        (instead(RUNS, ["run", "c1", 1005], ["run", "c1", 1005], ["run", "c1", 1006]), "ran 2 times, in 1 lives"),
        ([*RUNS[:-1], ["life", "kk", 1600], ["run", "c2", 1700]], "c2 to secondary/journal ran 2 times, in 2 lives"),
        (instead(RUNS, ["run", "c4", 1501], ["run", "c4", 9000]), "ran 4500 ms after its deadline"),
        (instead(RUNS, ["run", "c4", 1501], ["run", "c5", 1601]), "ended as unavailable, but it ran"),
        (instead(RUNS, ["run", "c4", 1501], ["run", "c99", 1601]), "ran, but nobody made it"),
    ],
)
def test_what_ran(runs: Lines, words: str) -> None:
    [finding] = judged(runs=runs)
    assert words in finding


@pytest.mark.parametrize("outcome", sorted(NEVER_RAN - {"denied", "not_found", "conflict", "invalid_argument"}))
def test_an_outcome_that_says_that_it_did_not_run(outcome: str) -> None:
    caller = instead(GOOD, LOST4, ["end", "c4", outcome, 2000, ""])
    [finding] = judged(caller)
    assert f"ended as {outcome}, but it ran" in finding


@pytest.mark.parametrize(
    ("final", "words"),
    [
        (["final", "k", None], "version 1 of k was acknowledged, and is lost"),
        (["final", "k", 2], "version 2, which was never written"),
        (["final", "other", 1], "version 1 of k was acknowledged, and is lost"),
    ],
)
def test_what_the_store_says_at_the_end(final: list[Any], words: str) -> None:
    [finding] = judged(walk=[["life", "ww", 800], final])
    assert words in finding


def test_what_the_walk_found_itself() -> None:
    assert judged(walk=[*WALK, ["finding", "a socket is left"]]) == ["a socket is left"]


def test_a_caller_that_is_killed_owes_no_outcome_but_for_what_was_due_before() -> None:
    killed: Lines = [
        ["life", "bb", 8000], ["call", "d1", "plain", "x", 8000, 9000], ["call", "d2", "plain", "x", 8000, 11000],
        ["tick", 9000 + SLACK_MS + 100],
    ]  # fmt: skip
    [finding] = judged(more={"caller-external": killed})
    assert "d1 to x was never answered" in finding


def test_time_in_which_a_caller_did_not_run_is_not_counted() -> None:
    late: Lines = [
        ["life", "bb", 8000], ["call", "d1", "plain", "x", 8000, 9000], ["stall", 8900, 12000],
        ["end", "d1", "deadline", 12000 + SLACK_MS], ["bye", 13000],
    ]  # fmt: skip
    assert judged(more={"caller-external": late}) == []
    [finding] = judged(more={"caller-external": instead(late, ["stall", 8900, 12000], ["stall", 9600, 12000])})
    assert "after its deadline" in finding


def test_a_line_that_was_torn_is_found(tmp_path: Path) -> None:
    text = "".join(json.dumps(line) + "\n" for line in GOOD)
    (tmp_path / f"{CALLER}.jsonl").write_text(text + '["call","half')
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / f"{JOURNAL}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in RUNS))
    assert check(read_ledger(tmp_path)) == [f"a line of the ledger is torn: {CALLER}.jsonl:{len(GOOD) + 1}"]


def test_the_figures_count_every_call() -> None:
    ledger = Ledger()
    add_lines(ledger, CALLER, GOOD)
    assert figures(ledger)["plain"] == {"ok": 1, "outcome_unknown": 1, "unavailable": 1}
    assert sum(count for counter in figures(ledger).values() for count in counter.values()) == len(list(ledger.calls))
