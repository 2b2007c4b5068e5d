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
    assert allows("*:443", "tcp", "2606:4700::1111", 443)


NEAR = [
    "127.0.0.1", "127.9.9.9", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.31.0.1", "192.168.0.1", "0.0.0.0",
    "192.0.2.1", "198.18.0.1", "224.0.0.251", "255.255.255.255", "168.63.129.16", "::", "::1", "::ffff:127.0.0.1",
    "::127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1",
    "2001::1", "2001:db8::1", "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "fe80::1", "fec0::1",
    "fd00:ec2::254", "ff02::fb", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("near", NEAR)
def test_any_address_is_any_public_one_and_a_large_network_says_no_more(near: str) -> None:
    assert not any(
        allows(rule, "tcp", near, 80) for rule in ("*:*", "0.0.0.0/0:80", "[::]/0:80", "0.0.0.0/1:80", "[::]/1:80")
    )


@pytest.mark.parametrize("public", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_what_the_internet_routes_is_any_address(public: str) -> None:
    assert allows("*:*", "tcp", public, 80)


@pytest.mark.parametrize(
    ("rule", "near"),
    [
        ("127.0.0.1:80", "127.0.0.1"), ("127.0.0.0/8:80", "::ffff:127.0.0.1"), ("192.168.0.0/16:80", "192.168.7.1"),
        ("192.168.7.0/24:80", "192.168.7.1"), ("[fe80::]/10:80", "fe80::1"), ("[fd00::]/8:80", "fd00:ec2::254"),
        ("[64:ff9b::a00:0]/104:80", "64:ff9b::a00:1"), ("[::1]:80", "::1"), ("224.0.0.251:80", "224.0.0.251"),
    ],
)  # fmt: skip
def test_what_is_near_is_reached_by_a_rule_that_names_it(rule: str, near: str) -> None:
    assert allows(rule, "tcp", near, 80)


def test_an_address_of_the_host_itself_is_reached_only_by_a_rule_that_names_it() -> None:
    address = ipaddress.ip_address("8.8.4.4").packed  # as a server on the Internet has one
    for text, is_reached in (("*:80", False), ("8.8.0.0/16:80", False), ("8.8.4.4:80", True)):
        found = egress_rule_for([parse_egress(text)], "tcp", address, 80, is_own=lambda: True)
        assert (found is not None) is is_reached, text
        assert egress_rule_for([parse_egress(text)], "tcp", address, 80, is_own=lambda: False)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_rule_of_a_network_lets_nothing_that_it_does_not_hold(number: int, prefix: int) -> None:
    host = ipaddress.ip_address(number)
    network = ipaddress.ip_network((number, prefix), strict=False)
    assert allows(f"{host}:80", "tcp", str(host), 80)
    outside = ipaddress.ip_address(number ^ (1 << 31))
    assert prefix == 0 or not allows(f"{network}:80", "tcp", str(outside), 80)


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
