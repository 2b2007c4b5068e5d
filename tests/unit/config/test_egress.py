"""Egress rules: what is written, what it allows."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.egress import egress_rule_for, is_listed, parse_egress


def allows(rule: str, protocol: str, address: str, port: int) -> bool:
    return egress_rule_for([parse_egress(rule)], protocol, ipaddress.ip_address(address).packed, port) is not None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.7:443", "192.0.2.7:443"),
        ("192.0.2.0/24:1-1024", "192.0.2.0/24:1-1024"),
        ("[2001:db8::]/32:443/tcp", "[2001:db8::]/32:443"),
        ("[::1]:53/udp", "[::1]:53/udp"),
        ("*:*", "*:*"),
        ("0.0.0.0/0:80", "0.0.0.0/0:80"),
    ],
)
def test_a_rule_is_shown_as_it_is_written(text: str, shown: str) -> None:
    assert str(parse_egress(text)) == shown
    assert parse_egress(shown) == parse_egress(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("example.org:443", "is a name"),
        ("192.0.2.7", "is not an egress rule"),
        ("192.0.2.7:0", "ports go from"),
        ("192.0.2.7:9-5", "ports go from"),
        ("192.0.2.7:65536", "ports go from"),
        ("192.0.2.7/24:443", "host bits"),
        ("192.0.2.7/33:443", "not a valid netmask"),
        ("[2001:db8::g]:1", "is not an egress rule"),
        ("2001:db8::1:443", "is not an egress rule"),
        ("*:443/sctp", "is not an egress rule"),
        ("", "is not an egress rule"),
    ],
)
def test_a_rule_that_cannot_be_says_why(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        parse_egress(text)


def test_a_rule_allows_its_protocol_range_and_ports_only() -> None:
    assert allows("192.0.2.0/24:440-450", "tcp", "192.0.2.255", 450)
    assert not allows("192.0.2.0/24:440-450", "tcp", "192.0.3.0", 450)
    assert not allows("192.0.2.0/24:440-450", "tcp", "192.0.2.1", 451)
    assert not allows("192.0.2.0/24:440-450", "udp", "192.0.2.1", 445)
    assert not allows("0.0.0.0/0:443", "tcp", "2001:db8::1", 443)
    assert allows("*:443", "tcp", "2001:db8::1", 443)


def test_an_address_inside_another_family_is_the_address_that_the_kernel_reaches() -> None:
    assert allows("192.0.2.7:443", "tcp", "::ffff:192.0.2.7", 443)
    assert not allows("[::]/0:443", "tcp", "::ffff:192.0.2.7", 443)


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_a_sentence(text: str) -> None:
    try:
        rule = parse_egress(text)
    except ValueError:
        return
    assert parse_egress(str(rule)) == rule


@given(st.one_of(st.text(), st.sampled_from(["127.0.0.2:0", "[::2]:0/udp", "*:0", "192.0.2.7:70000"])))
def test_what_is_no_rule_is_listed_by_none(text: str) -> None:
    """What a process wanted is asked about in each `status`, which it must not end."""
    try:
        parse_egress(text)
    except ValueError:
        assert not is_listed([parse_egress("*:*")], text)
