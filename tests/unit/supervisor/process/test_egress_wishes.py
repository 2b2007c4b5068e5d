"""Hosts without an egress rule: a library that tries again is told once, and a scan is an offence."""

from __future__ import annotations

from tlsrt.supervisor.process.egress_wishes import KNOWN_MOST, NEW_BURST, EgressWishes, Wish


def test_a_host_that_is_tried_for_ever_is_told_once() -> None:
    wishes = EgressWishes()
    assert wishes.judge("192.0.2.7:8883", 1.0) is Wish.NEW
    assert {wishes.judge("192.0.2.7:8883", 1.0 + second) for second in range(100_000)} == {Wish.KNOWN}


def test_many_different_ones_are_a_scan_and_a_few_addresses_of_one_name_are_not() -> None:
    wishes = EgressWishes()
    tried = [wishes.judge(f"192.0.2.7:{port}", 1.0) for port in range(1, 1000)]
    assert tried[:NEW_BURST] == [Wish.NEW] * NEW_BURST
    assert set(tried[NEW_BURST:]) == {Wish.SCAN}
    assert wishes.judge("192.0.2.7:1", 2.0) is Wish.KNOWN  # what was known stays so


def test_addresses_that_change_slowly_are_no_scan_and_what_is_kept_is_bounded() -> None:
    wishes = EgressWishes()
    tried = {wishes.judge(f"10.{number >> 8}.{number & 255}.1:443", 61.0 * number) for number in range(2 * KNOWN_MOST)}
    assert tried == {Wish.NEW}
    assert len(wishes._known) == KNOWN_MOST
