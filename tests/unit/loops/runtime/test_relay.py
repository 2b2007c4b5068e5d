"""Hosts that are reached for callers: by the rules of each, and no other's."""

from __future__ import annotations

import asyncio

import pytest

from tlsrt.config.name_rules import NameRule, parse_network, parse_rule
from tlsrt.errors import Denied, Unavailable
from tlsrt.loops.runtime.relay import Relay

HOME = (parse_network("127.0.0.0/8"), parse_network("::1/128"))
RELAY = Relay(
    {
        "third/wide": [parse_rule("*:443")],
        "third/near": [parse_rule("127.0.0.1:443"), NameRule("tcp", "localhost", 443, 443, HOME)],
        "third/name": [parse_rule("localhost:443")],
    }
)


def reach(caller: str, host: str, port: int = 443) -> list[str]:
    return asyncio.run(RELAY.reach_for(caller, host, port))


def test_each_has_its_own_rules() -> None:
    assert reach("third/near", "127.0.0.1") == ["127.0.0.1"]
    assert reach("third/wide", "8.8.8.8") == ["8.8.8.8"]
    for caller, host, port in (
        ("third/wide", "127.0.0.1", 443), ("third/wide", "169.254.169.254", 443),
        ("third/wide", "::ffff:127.0.0.1", 443),
        ("third/near", "8.8.8.8", 443), ("third/near", "127.0.0.1", 80), ("client/x", "8.8.8.8", 443),
        ("third/wide", "example.org", 443), ("third/near", "fe80::1%lo", 443),
    ):  # fmt: skip
        with pytest.raises(Denied, match="no egress rule of"):
            reach(caller, host, port)


def test_a_name_leads_where_the_rules_of_its_caller_let_it() -> None:
    assert "127.0.0.1" in reach("third/near", "LOCALHOST")
    with pytest.raises(Unavailable, match="no address that the rules of third/name allow"):
        reach("third/name", "localhost")
