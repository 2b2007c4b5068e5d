"""Routes and sets in a configuration, and values of a component: what is taken, and the sentence for what is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.host_settings import SettingConfig, refusal_of_setting
from tlsrt.config.network_settings import RouteConfig, SetConfig, number_of, range_of, ranges_of, route_to, text_of

UPLINK = SettingConfig(
    "uplink", "a test", route=RouteConfig(route_to("10.9.0.0/16"), ("10.0.0.1-10.0.0.9",), ("eth1", "eth2"))
)
BLOCK = SettingConfig("block", "a test", nft_set=SetConfig("filter", "blocked", "ipv4_addr", ("192.0.2.0/24",)))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/0",
        "default",
        "::/0",
        "10.0.0.0/7",
        "2000::/3",
        "10.9.0.1/16",
        "127.0.0.0/8",
        "224.0.0.0/8",
        "fe80::/64",
        "x",
    ],
)
def test_no_component_gets_such_a_route(text: str) -> None:
    with pytest.raises(ValueError, match="to must be a network"):
        route_to(text)


@given(st.sampled_from([("ipv4_addr", 32), ("ipv6_addr", 128), ("ether_addr", 48)]), st.data())
def test_a_number_is_the_text_that_it_came_from(kind: tuple[str, int], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, (1 << kind[1]) - 1))
    assert number_of(kind[0], text_of(kind[0], number)) == number


@given(st.sampled_from(["ipv4_addr", "ipv6_addr", "ether_addr", "inet_service"]), st.text() | st.integers() | st.none())
def test_whatever_is_said_is_a_number_or_the_one_error(kind: str, value: object) -> None:
    try:
        number = number_of(kind, value)
    except ValueError:
        return
    assert 0 <= number < 1 << 128


@pytest.mark.parametrize(
    ("kind", "text", "ends"),
    [
        ("ipv4_addr", "192.0.2.0/24", ("192.0.2.0", "192.0.2.255")),
        ("ipv4_addr", "192.0.2.1 - 192.0.2.9", ("192.0.2.1", "192.0.2.9")),
        ("ipv6_addr", "2001:db8::/32", ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("ether_addr", "02:00:00:00:00:01", ("02:00:00:00:00:01", "02:00:00:00:00:01")),
        ("inet_service", "1024-2048", ("1024", "2048")),
    ],
)
def test_ranges(kind: str, text: str, ends: tuple[str, str]) -> None:
    assert tuple(text_of(kind, one) for one in range_of(kind, text)) == ends


@pytest.mark.parametrize(
    ("kind", "text"),
    [("ipv4_addr", "9.9.9.9-1.1.1.1"), ("ipv4_addr", "x"), ("inet_service", "65536"), ("ipv4_addr", "192.0.2.1/24"),
     ("ether_addr", "1-2"), ("inet_service", "-1")],
)  # fmt: skip
def test_what_is_no_range(kind: str, text: str) -> None:
    with pytest.raises(ValueError, match="no range"):
        ranges_of(kind, (text,))


@pytest.mark.parametrize(
    ("setting", "value", "chosen"),
    [
        (UPLINK, "10.0.0.5%eth2", (0x0A000005, 1)),
        (BLOCK, "192.0.2.7", (0xC0000207, 0)),
    ],
)
def test_what_a_component_may_choose(setting: SettingConfig, value: object, chosen: tuple[int, int]) -> None:
    assert setting.chosen(value) == chosen


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (UPLINK, "10.0.0.10%eth1"), (UPLINK, "10.0.0.5%eth0"), (UPLINK, "10.0.0.5"), (UPLINK, "0.0.0.0%eth1"),
        (UPLINK, "fe80::1%eth1"), (UPLINK, 5), (BLOCK, "0.0.0.0/0"), (BLOCK, "192.0.2.0/24"), (BLOCK, "198.51.100.1"),
        (BLOCK, "192.0.2.7%eth1"), (BLOCK, None),
    ],
)  # fmt: skip
def test_what_it_may_not(setting: SettingConfig, value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        setting.chosen(value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"path": "/proc/sys/vm/x", "values": "1"}, ""),
        ({"path": "/sys/class/net/x/mtu", "values": "1", "capability": "CAP_NET_ADMIN"}, ""),
        ({"path": "/proc/sys/vm/x"}, "values is missing"),
        ({}, "it must have one of path, route and set"),
        ({"path": "/proc/sys/vm/x", "values": "1", "route": {}}, "it must have one of"),
        ({"set": {"type": "ipv4_addr", "values": ["x"]}}, "no range of ipv4_addr"),
        ({"set": {"type": "ipv4_addr", "values": ["192.0.2.1"]}, "values": "1"}, "values goes with path only"),
        ({"route": {"to": "10.9.0.0/16", "via": ["fe80::1"]}}, "no range of ipv4_addr"),
        ({"route": {"to": "10.9.0.0/16", "via": ["10.0.0.0/8"]}}, "more than 65536 gateways"),
        ({"route": {"to": "10.9.0.0/16", "via": ["0.0.0.0-0.0.0.9"]}}, "0.0.0.0 is no gateway"),
    ],
)
def test_an_entry_as_a_whole(entry: dict[str, Any], words: str) -> None:
    sentence = refusal_of_setting({"name": "x", "why": "a test", **entry})
    assert words in sentence and bool(words) == bool(sentence)
