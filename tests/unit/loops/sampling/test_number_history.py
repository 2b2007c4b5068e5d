"""The last hour and day of numbers: buckets, gaps, values that are not known, and what it takes."""

from __future__ import annotations

import sys

import msgpack

from tlsrt.loops.sampling.number_history import NumberHistory


def test_a_bucket_knows_least_most_and_mean_of_each_series() -> None:
    history = NumberHistory(("one", "two"))
    assert history.is_due(1000.0)
    history.add((0, -5.0), 1000.0)
    assert not history.is_due(1009.9) and history.is_due(1010.0)
    history.add((3, -1.5), 1010.0)
    told = history.told("day", 1030.0)
    assert told["period_s"] == 300 and told["lasts_s"] == 86400 and told["ages_s"] == [130]  # its bucket began at 900
    assert told["series"] == {
        "one": {"least": [0], "most": [3], "mean": [1.5]}, "two": {"least": [-5], "most": [-1.5], "mean": [-3.25]},
    }  # fmt: skip
    assert history.told("hour", 1030.0)["series"]["one"]["mean"] == [0, 3]


def test_what_is_not_known_is_none_and_no_zero() -> None:
    history = NumberHistory(("charge", "celsius"))
    history.add((None, 40.0), 1000.0)
    history.add((50.0, None), 1001.0)  # the same bucket: what is known of it counts
    history.add((None, None), 1010.0)
    told = history.told("hour", 1010.0)["series"]
    assert told["charge"] == {"least": [50, None], "most": [50, None], "mean": [50, None]}
    assert told["celsius"]["mean"] == [40, None]


def test_a_gap_is_no_bucket_and_what_is_old_goes() -> None:
    history = NumberHistory(("one",))
    for at in (1010.0, 1020.0, 3010.0):
        history.add((1,), at)
    assert history.told("hour", 3015.0)["ages_s"] == [2005, 1995, 5]
    assert history.told("hour", 4615.0)["ages_s"] == [3605, 3595, 1605]  # a part of the oldest is of this hour
    assert history.told("hour", 4635.0)["ages_s"] == [1625]
    assert history.told("hour", 9000.0)["ages_s"] == []


def test_a_week_takes_a_bounded_place_and_an_answer_fits_into_a_frame() -> None:
    history = NumberHistory(("frames", "refused", "memory", "lateness", "active"))
    for at in range(0, 7 * 86400, 10):
        history.add([1234567.0 * at] * 5, float(at))
    kept = [bucket for buckets in history._spans.values() for _, bucket in buckets]
    assert len(kept) == 360 + 288
    assert sum(map(sys.getsizeof, kept)) < 176 * 1024
    for span, count in (("hour", 360), ("day", 288)):
        told = history.told(span, 7.0 * 86400)  # type: ignore[arg-type]
        assert len(msgpack.packb(told)) < 64 * 1024 and len(told["ages_s"]) == count
