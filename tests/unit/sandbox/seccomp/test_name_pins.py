"""What names are now: which rule lets an address be reached."""

from __future__ import annotations

import ipaddress

from tlsrt.config.name_rules import NameRule, parse_network
from tlsrt.sandbox.seccomp.name_pins import NamePins

PUBLIC, HOME = ipaddress.ip_address("8.8.8.8").packed, ipaddress.ip_address("192.168.1.7").packed
OPEN = NameRule("tcp", "example.org", 443, 443)
INSIDE = NameRule("tcp", "example.org", 443, 443, (parse_network("192.168.1.0/24"),))


def pins(*addresses: bytes) -> NamePins:
    made = NamePins()
    made.set("example.org", addresses)
    return made


def test_an_address_is_reached_by_the_rule_of_its_name_protocol_and_port() -> None:
    known = pins(PUBLIC)
    assert known.rule_for([OPEN], "tcp", PUBLIC, 443) is OPEN
    assert known.rule_for([OPEN], "udp", PUBLIC, 443) is None
    assert known.rule_for([OPEN], "tcp", PUBLIC, 444) is None
    assert known.rule_for([OPEN], "tcp", HOME, 443) is None
    assert NamePins().rule_for([OPEN], "tcp", PUBLIC, 443) is None


def test_two_rules_of_one_name_keep_to_their_own_networks() -> None:
    known = pins(PUBLIC, HOME)
    assert known.rule_for([OPEN], "tcp", HOME, 443) is None
    assert known.rule_for([INSIDE], "tcp", PUBLIC, 443) is None
    assert known.rule_for([OPEN, INSIDE], "tcp", HOME, 443) is INSIDE


def test_an_address_inside_another_family_is_the_one_that_is_reached() -> None:
    assert pins(PUBLIC).rule_for([OPEN], "tcp", ipaddress.ip_address("::ffff:8.8.8.8").packed, 443) is OPEN


def test_an_address_that_this_host_has_got_since_is_reached_only_within_networks() -> None:
    known = pins(PUBLIC, HOME)
    assert known.rule_for([OPEN], "tcp", PUBLIC, 443, is_own=lambda: True) is None
    assert known.rule_for([OPEN], "tcp", PUBLIC, 443, is_own=lambda: False) is OPEN
    assert known.rule_for([INSIDE], "tcp", HOME, 443, is_own=lambda: True) is INSIDE


def test_a_name_that_is_forgotten_is_reached_no_more() -> None:
    known = pins(PUBLIC)
    known.forget(["example.org", "other.example"])
    assert known.rule_for([OPEN], "tcp", PUBLIC, 443) is None
