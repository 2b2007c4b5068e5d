"""The last hour and day of a host: rates, gaps and lives of processes."""

from __future__ import annotations

from typing import Any

from tlsrt.loops.third.status_history import SERIES, StatusHistory


def status(frames: int, *, refused: int = 0, incarnation: int = 1, memory: int | None = 1024) -> dict[str, Any]:
    loop = {
        "name": "third", "incarnation": incarnation, "frames": {"in": frames, "refused": refused}, "lateness_ms": 1.5,
        "memory_kib": memory, "state": "active",
    }  # fmt: skip
    return {"loops": [loop], "authority": {"memory_kib": None, "lateness_ms": None, "state": "active"}}


def test_a_bucket_knows_least_most_and_mean_and_rates_are_of_the_time_that_passed() -> None:
    history = StatusHistory()
    assert history.is_due(1000.0)
    history.take(status(100), 1000.0)
    assert history.told("hour", 1000.0)["ages_s"] == []  # a first one counts from nothing
    assert not history.is_due(1009.9) and history.is_due(1010.0)
    history.take(status(150, refused=5, memory=2048), 1010.0)
    history.take(status(150, memory=None), 1020.0)
    told = history.told("day", 1030.0)
    assert told["period_s"] == 300 and told["ages_s"] == [130]  # of the bucket's beginning, at 900
    assert told["series"]["frames"] == {"least": [0], "most": [5], "mean": [2.5]}
    assert told["series"]["memory"] == {"least": [0], "most": [2 << 20], "mean": [1 << 20]}
    assert told["series"]["active"]["mean"] == [1] and told["series"]["lateness"]["most"] == [1.5]
    assert set(told["series"]) == set(SERIES)


def test_another_life_counts_from_nothing_and_no_rate_is_below_it() -> None:
    history = StatusHistory()
    history.take(status(1000), 1000.0)
    history.take(status(20, incarnation=2), 1010.0)
    history.take(status(10, incarnation=2), 1020.0)  # a process that lies about its own count
    history.take(status(30, incarnation=2), 1020.0)  # no time has passed
    assert history.told("hour", 1020.0)["series"]["frames"]["mean"] == [2, 0]


def test_a_host_that_was_not_there_leaves_a_gap_and_what_is_old_goes() -> None:
    history = StatusHistory()
    for at in (1000.0, 1010.0, 1020.0, 3000.0, 3010.0):
        history.take(status(0), at)
    assert history.told("hour", 3015.0)["ages_s"] == [2005, 1995, 15, 5]
    assert history.told("hour", 4700.0)["ages_s"] == [1700, 1690]  # what is before an hour ago is not told
    assert history.told("hour", 9000.0)["ages_s"] == []
