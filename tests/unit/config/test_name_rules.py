"""Egress rules of names: what is written, and which addresses a name may have."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.egress import EgressRule
from tlsrt.config.name_rules import NameRule, parse_network, parse_rule
from tlsrt.config.public_address import is_public


def rule(text: str, *within: str) -> NameRule:
    parsed = parse_rule(text)
    assert isinstance(parsed, NameRule)
    return replace(parsed, within=tuple(map(parse_network, within)))


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mqtt.example.org:8883", "mqtt.example.org:8883"),
        ("Pool.NTP.org:123/udp", "pool.ntp.org:123/udp"),
        ("broker:*", "broker:*"),
        ("xn--bcher-kva.example:443-445/tcp", "xn--bcher-kva.example:443-445"),
        ("7.example:1", "7.example:1"),
    ],
)
def test_a_rule_is_shown_as_it_is_written(text: str, shown: str) -> None:
    assert str(rule(text)) == shown and parse_rule(shown) == parse_rule(text)


@pytest.mark.parametrize("text", ["192.0.2.7:443", "*:443", "[2001:db8::1]:443", "192.0.2.0/24:*"])
def test_a_rule_of_addresses_stays_one(text: str) -> None:
    assert isinstance(parse_rule(text), EgressRule)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("*.example.org:443", "a rule names each host"),
        ("a*.example.org:443", "a rule names each host"),
        ("bücher.example:443", "xn--"),
        ("example.org.:443", "without the dot"),
        ("-a.example:443", "is no name of a host"),
        (f"{'a' * 64}.example:443", "is no name of a host"),
        ("a..b:443", "is no name of a host"),
        ("example.0x7f000001:443", "read as an address"),
        ("a.127:443", "read as an address"),
        ("example.org:0", "ports go from"),
        ("example.org:9-5", "ports go from"),
        ("example.org", "is not an egress rule"),
        ("example.org/24:443", "only an address can stand here"),
    ],
)
def test_a_rule_that_cannot_be_says_why(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        parse_rule(text)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "172.31.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.251",
        "255.255.255.255", "192.0.2.7", "::1", "::", "fe80::1", "fd00:ec2::254", "ff02::fb", "::ffff:8.8.8.8",
        "2002:7f00:1::", "64:ff9b::7f00:1", "2001::1", "2001:db8::1",
    ],
)  # fmt: skip
def test_what_is_near_or_special_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text)) and not rule("example.org:443").may_be(packed(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "192.0.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_what_the_internet_routes_is_public(text: str) -> None:
    assert rule("example.org:443").may_be(packed(text))


def test_within_says_all_that_a_name_may_be() -> None:
    home = rule("broker.lan:8883", "192.168.1.0/24", "fd00::/8")
    assert home.may_be(packed("192.168.1.7")) and home.may_be(packed("fd00::1"))
    assert not home.may_be(packed("192.168.2.7")) and not home.may_be(packed("8.8.8.8"))


def test_all_addresses_within_are_all_public_ones() -> None:
    wide = rule("broker.example:8883", "0.0.0.0/0")
    assert wide.may_be(packed("8.8.8.8")) and not wide.may_be(packed("127.0.0.1"))


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_a_sentence(text: str) -> None:
    try:
        parsed = parse_rule(text)
    except ValueError:
        return
    assert parse_rule(str(parsed)) == parsed
