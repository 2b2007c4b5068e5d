"""The clock: steps seen by two clocks, and what timesyncd says, also when it lies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.secondary.step_watch import STEP_NS, StepWatch
from tlsrt.loops.secondary.time_sources import timesyncd_untrusted

S = 1_000_000_000
MESSAGE = [0, 4, 4, 2, -20, 10, 20, b"abcd", 1_000_000, 1_010_000, 1_020_000, 1_050_000, False, 3, 700]
NONE = timesyncd_untrusted({})


@pytest.mark.parametrize("step", [S, -S, 3600 * S, -2 * STEP_NS])
def test_a_step_is_told_with_its_size(step: int) -> None:
    watch = StepWatch()
    assert watch.look(10 * S, 1000 * S, 10 * S) is None
    assert watch.look(12 * S, 1002 * S, 12 * S) is None
    assert watch.look(14 * S, 1004 * S + step, 14 * S) == step
    assert watch.look(16 * S, 1006 * S + step, 16 * S) is None


def test_slewing_and_long_pauses_are_no_step() -> None:
    watch = StepWatch()
    watch.look(0, 0, 0)
    for minute in range(1, 10):
        assert watch.look(minute * 60 * S, int(minute * 60 * S * 1.0005), minute * 60 * S) is None
    assert watch.look(10_000 * S, 10_000 * S + S // 5, 10_000 * S) is None
    assert watch.look(20_000 * S, 90_000 * S, 20_001 * S) is None, "a pause while it looked"


def test_an_answer_of_a_server_is_understood() -> None:
    said = timesyncd_untrusted(
        {"ServerName": "ntp.example", "NTPMessage": MESSAGE, "PollIntervalUSec": 32_000_000, "Frequency": -65536}
    )
    assert said == {
        "server": "ntp.example", "stratum": 2, "offset_ms": -10.0, "round_trip_ms": 40.0, "last_sync_wall_ms": 1050,
        "jitter_ms": 0.7, "drift_ppm": -1.0, "uncertainty_ms": 20.025, "poll_s": 32.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        {"NTPMessage": MESSAGE[:-1]}, {"NTPMessage": "x" * 15}, {"NTPMessage": None}, {"ServerName": 7},
        {"ServerName": "a\nb"}, {"NTPMessage": [*MESSAGE[:13], 0, 700]}, {"PollIntervalUSec": "1"},
        {"PollIntervalUSec": -1}, {"ServerName": ""},
    ],
)  # fmt: skip
def test_what_is_no_answer_is_null(said: dict[str, Any]) -> None:
    assert timesyncd_untrusted(said) == NONE


_ANY = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9), st.binary(max_size=9), st.floats())


@given(st.dictionaries(st.sampled_from(["NTPMessage", "ServerName", "PollIntervalUSec"]),
                       st.one_of(_ANY, st.lists(_ANY, min_size=15, max_size=15))))  # fmt: skip
def test_whatever_is_said_gives_the_same_keys(said: dict[str, Any]) -> None:
    assert timesyncd_untrusted(said).keys() == NONE.keys()
