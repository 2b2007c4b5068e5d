"""Rates of counters of interfaces: what is new, made anew, loopback or too close counts for nothing."""

from __future__ import annotations

from tlsrt.loops.external.traffic import Traffic


def counted(received: int, sent: int = 0, lost: int = 0) -> dict[str, int]:
    return {
        "received_bytes": received, "sent_bytes": sent, "received_dropped": lost, "sent_dropped": 0,
        "received_errors": lost, "sent_errors": 0,
    }  # fmt: skip


def test_rates_are_of_the_time_that_passed_and_lo_is_not_the_network() -> None:
    traffic = Traffic()
    traffic.take({"eth0": counted(1000), "lo": counted(0)}, 1000.0)
    assert traffic.told("hour", 1000.0)["ages_s"] == []  # a first one says what is counted from
    traffic.take({"eth0": counted(2000, 500, 5), "lo": counted(10**9)}, 1010.0)
    series = traffic.told("hour", 1010.0)["series"]
    assert {name: one["mean"] for name, one in series.items()} == {"received": [100], "sent": [50], "dropped": [1]}


def test_an_interface_that_is_new_or_made_anew_is_no_burst() -> None:
    traffic = Traffic()
    traffic.take({"eth0": counted(10**9)}, 1000.0)
    traffic.take({"eth0": counted(5), "wlan0": counted(10**9)}, 1010.0)
    traffic.take({"wlan0": counted(10**9 + 70)}, 1020.0)
    assert traffic.told("hour", 1020.0)["series"]["received"]["mean"] == [0, 7]


def test_two_looks_at_once_are_one() -> None:
    traffic = Traffic()
    traffic.take({"eth0": counted(0)}, 1000.0)
    traffic.take({"eth0": counted(10**9)}, 1000.001)
    traffic.take({"eth0": counted(1000)}, 1010.0)
    assert traffic.told("hour", 1010.0)["series"]["received"]["most"] == [100]
