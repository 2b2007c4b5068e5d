"""A process is killed under calls of every kind, from a component and from a client: each call ends as the table of
supervision says, before its deadline; what is said to have run has run, what is said not to has not, and nothing runs
twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.call_load import ASKER, CALLED, KINDS, LEDGER, Askers, end_asker, names_run
from hosts.flow_package.flowing import asker as asking
from hosts.running_host import RunningHost, running

KILLS = 3
SAFE = frozenset({"ok", "busy", "unavailable", "away"})  # of these all but ok mean that nothing ran
ALWAYS = SAFE | {"outcome_unknown"}
ALLOWED = {
    ("primary", "plain"): ALWAYS, ("primary", "keyed"): frozenset({"ok"}), ("primary", "twice"): frozenset({"ok"}),
    ("primary", "stream"): ALWAYS, ("primary", "upload"): ALWAYS, ("primary", "exchange"): ALWAYS,
    ("secondary", "plain"): ALWAYS | {"stale"}, ("secondary", "keyed"): frozenset({"ok", "outcome_unknown"}),
    ("secondary", "twice"): frozenset({"ok"}), ("secondary", "stream"): ALWAYS | {"stale"},
    ("secondary", "upload"): ALWAYS | {"stale"}, ("secondary", "exchange"): ALWAYS | {"stale"},
    **{("third", kind): frozenset({"ok"}) for kind in KINDS},
}  # fmt: skip


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **CALLED)


@pytest.mark.parametrize("victim", ["primary", "secondary", "third"])
def test_every_call_ends_once_and_as_it_may(host: RunningHost, victim: str) -> None:
    control = host.client()
    before = len(names_run(host))
    control.call(ASKER, "begin", f"{victim}-component", list(KINDS), 2)
    askers = Askers(host, f"{victim}-client")
    try:
        for _ in range(KILLS):
            askers.go_on(50)
            host.respawn(victim)
    finally:
        records = askers.end()
    if victim != "third":
        records += end_asker(control)
    runs = Counter(names_run(host)[before:])
    judge(victim, records, runs)
    assert control.call(ASKER, "done", timeout_s=20) >= 0


def judge(victim: str, records: list[asking.Record], runs: Counter[str]) -> None:
    outcomes: dict[str, Counter[str]] = {}
    for name, word, spent in records:
        kind = name.split(".")[1]
        outcomes.setdefault(kind, Counter())[word] += 1
        assert word in ALLOWED[victim, kind], (name, word, outcomes)
        assert spent < asking.TIMEOUT_S, (name, word, spent)
        if word == "ok":
            assert runs[name], f"{name} was answered and did not run"
        elif word in SAFE:
            assert not runs[name], f"{name} ended as {word} and has run"
    print(victim, {kind: dict(words) for kind, words in outcomes.items()})
    twice = {name: count for name, count in runs.items() if count > 1 and name.split(".")[1] != "twice"}
    assert not twice, f"these ran more than once: {twice}"
    assert len(records) == len({name for name, _, _ in records})


def test_a_subscription_ends_with_an_error_when_its_publisher_dies(host: RunningHost) -> None:
    control = host.client()
    listening: Any = control.stream(ASKER, "listen")
    heard: list[Any] = []
    reader = threading.Thread(target=lambda: heard.extend(listening))
    reader.start()
    while not heard:
        control.call(LEDGER, "tell", 1, timeout_s=20)
    host.respawn("secondary")
    reader.join(20)
    assert not reader.is_alive()
    assert heard[-1] == "outcome_unknown"
    assert set(heard[:-1]) == {1}
