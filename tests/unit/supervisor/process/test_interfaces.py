"""Interfaces of listeners: their addresses, as the kernel lists them."""

from __future__ import annotations

import socket

from tlsrt.config.listeners import Interface, ListenConfig, Listener
from tlsrt.supervisor.process.interfaces import addresses_of, interfaces_of

TABLE = """fe80000000000000005056fffe000001 02 40 20 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000007 02 40 00 80     eth0
"""


def test_addresses_of_ipv6_stand_in_a_table() -> None:
    assert addresses_of("eth0", TABLE) == ("fe80::50:56ff:fe00:1/64", "2001:db8::7/64")
    assert addresses_of("eth1", TABLE) == ()


def test_only_listeners_of_a_group_have_one_and_what_is_gone_has_none() -> None:
    def one(name: str, group: str = "", interface: str = "") -> Listener:
        asked = ListenConfig(name, 5353, "a test", protocol="udp", group=group, interface=interface)
        return Listener("third.a", "third/a", asked)

    listeners = [one("here", "224.0.0.251", "lo"), one("gone", "224.0.0.251", "nothing0"), one("plain")]
    found = interfaces_of(listeners, "third.a")
    assert set(found) == {"third/a:here"} and interfaces_of(listeners, "third.b") == {}
    here = found["third/a:here"]
    assert isinstance(here, Interface) and (here.name, here.index) == ("lo", socket.if_nametoindex("lo"))
    assert "127.0.0.1/8" in here.addresses
