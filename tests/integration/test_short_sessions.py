"""Sessions that end again and again under calls of every kind: each call ends as it may, and nothing runs twice.

The times are hours, and no setting makes them shorter: so the supervisor of this host starts with smaller constants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.call_load import end_asker, names_run
from hosts.flow_package.flowing import asker as asking
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running

PACKAGE = Path(asking.__file__).parent
ASKER, LEDGER = "third/asker", asking.LEDGER
SHORT = """
from tlsrt.supervisor.authority.sessions import manager
manager.COMPONENT_TTL_MS = manager.CLIENT_TTL_MS = 1_000
manager.MAXIMUM_LIFE_MS = 2_500
"""
SUCCESSIONS = 2
ENDS = {
    "plain": {"ok", "outcome_unknown", "unavailable", "rejected", "stale"},
    "keyed": {"ok", "outcome_unknown"},
    "twice": {"ok"},
    "stream": {"ok", "outcome_unknown", "unavailable", "rejected", "stale", "stream_broken"},
}


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request,
        components={
            LEDGER: {"class": "flowing.ledger:Ledger", "process": "shared"},
            ASKER: {"class": "flowing.asker:Asker", "process": "shared"},
        },
        policy={f"client/admin -> {LEDGER}": "*", f"client/admin -> {ASKER}": "*", f"{ASKER} -> {LEDGER}": "*"},
        packages=[PACKAGE],
        prelude=LatePrelude(SHORT),
    )


def sessions(host: RunningHost) -> set[str]:
    return {line.split()[0] for line in host.cli("sessions").stdout.splitlines() if f" {ASKER} " in line}


def test_a_session_that_follows_another_under_load_loses_no_call(host: RunningHost) -> None:
    control = host.client()
    control.call(ASKER, "begin", "short", [*ENDS], 1, timeout_s=20)
    seen: set[str] = set()
    host.until(lambda document: seen.update(sessions(host)) or len(seen) > SUCCESSIONS, "successors", timeout_s=60)  # type: ignore[func-returns-value]
    records = end_asker(host.client())
    runs = Counter(names_run(host))
    words: dict[str, Counter[str]] = {kind: Counter() for kind in ENDS}
    for name, word, spent in records:
        kind = name.split(".")[1]
        words[kind][word] += 1
        assert spent < asking.TIMEOUT_S
        assert runs[name] or word != "ok", f"{name} was answered and did not run"
        assert runs[name] <= 1 or kind == "twice", f"{name} ran {runs[name]} times"
    print({kind: dict(ends) for kind, ends in words.items()})
    assert all(set(words[kind]) <= allowed and words[kind]["ok"] for kind, allowed in ENDS.items()), words
    assert all(loop["restarts"] == 0 for loop in host.status()["loops"])
