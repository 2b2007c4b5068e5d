"""Interfaces: what is no declaration, the lines between two states, and what ip says when it lies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import ConfigError, Failed
from tlsrt.loops.component.component import read_options
from tlsrt.loops.external.configuration import Configuration
from tlsrt.loops.external.interface_state import (
    DeclaredInterface,
    DeclaredRoute,
    State,
    cut_sentences,
    lines_between,
    read_state,
    target_of,
)

LINKS: list[dict[str, Any]] = [
    {"ifname": "eth0", "flags": ["BROADCAST", "UP"], "mtu": 1500, "addr_info": [
        {"local": "10.0.0.1", "prefixlen": 24, "scope": "global", "valid_life_time": 4294967295},
        {"local": "10.0.0.7", "prefixlen": 24, "scope": "global", "valid_life_time": 300},
        {"local": "fe80::1", "prefixlen": 64, "scope": "link", "valid_life_time": 4294967295}]},
    {"ifname": "lo", "flags": ["UP"], "mtu": 65536, "addr_info": []},
]  # fmt: skip
ROUTES: list[dict[str, Any]] = [
    {"dst": "default", "gateway": "10.0.0.254", "dev": "eth0", "protocol": "static", "version": 4},
    {"dst": "10.0.0.0/24", "dev": "eth0", "protocol": "kernel", "version": 4},
    {"dst": "10.9.0.0/16", "gateway": "10.0.0.2", "dev": "eth0", "protocol": "117", "metric": 50, "version": 4},
]


def now() -> State:
    return read_state(["eth0"], LINKS, ROUTES)


def test_what_ip_says_becomes_a_state() -> None:
    assert now() == {
        "eth0": {
            "up": True, "mtu": 1500, "addresses": {"10.0.0.1/24": None, "10.0.0.7/24": 300},
            "routes": [("0.0.0.0/0", "10.0.0.254", 0, "static"), ("10.9.0.0/16", "10.0.0.2", 50, "117")],
        }
    }  # fmt: skip


def test_what_is_not_said_stays_and_others_routes_and_leases_too() -> None:
    declared = {"eth0": DeclaredInterface(addresses=("10.0.0.5/24",), routes=())}
    assert lines_between(now(), target_of(now(), declared), trial_s=9) == [
        "address add 10.0.0.5/24 dev eth0 valid_lft 9 preferred_lft 9",
        "route del 10.9.0.0/16 via 10.0.0.2 dev eth0 metric 50 proto 117",
        "address del 10.0.0.1/24 dev eth0",
    ]
    assert lines_between(now(), target_of(now(), {"eth0": DeclaredInterface()})) == []


def test_the_way_back_is_the_way_between_the_same_states() -> None:
    route = DeclaredRoute(to="default", via="10.0.0.9", metric=5)
    declared = {"eth0": DeclaredInterface(up=False, mtu=1400, addresses=(), routes=(route,))}
    after = json.loads(json.dumps(target_of(now(), declared)))
    before = json.loads(json.dumps(now()))  # as it comes from the disk
    there, back = lines_between(before, after), lines_between(after, before)
    assert there[0] == "link set dev eth0 mtu 1400" and there[-1] == "link set dev eth0 down"
    assert back[:2] == ["link set dev eth0 mtu 1500", "link set dev eth0 up"]
    assert (
        "address add 10.0.0.1/24 dev eth0" in back and "route del 0.0.0.0/0 via 10.0.0.9 dev eth0 metric 5" in back[-1]
    )
    assert lines_between({}, before) == [], "an interface that has vanished needs nothing"


def test_a_confirmed_address_lasts() -> None:
    trying = now()
    trying["eth0"]["addresses"] = {"10.0.0.5/24": 3}
    wanted = now()
    wanted["eth0"]["addresses"] = {"10.0.0.5/24": None}
    assert lines_between(trying, wanted) == [
        "address change 10.0.0.5/24 dev eth0 valid_lft forever preferred_lft forever"
    ]


def test_what_is_cut_off_is_told() -> None:
    down = target_of(now(), {"eth0": DeclaredInterface(up=False)})
    assert list(cut_sentences(now(), down)) == [
        "interface eth0 goes down: callers that reach this host by 10.0.0.1, 10.0.0.7 are cut off, tlsrt's door too"
    ]
    less = target_of(now(), {"eth0": DeclaredInterface(addresses=(), routes=())})
    assert [one.split(" goes")[0] for one in cut_sentences(now(), less)] == [
        "address 10.0.0.1/24 of eth0", "the route to 10.9.0.0/16 via 10.0.0.2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eth0\nlink del eth1": {}}, "no name of an interface"),
        ({"-x": {}}, "no name of an interface"),
        ({"eth0": {"addresses": ["10.0.0.1/24 dev eth1"]}}, "no address with a prefix"),
        ({"eth0": {"addresses": ["10.0.0.1"]}}, "no address with a prefix"),
        ({"eth0": {"routes": [{"to": "default"}]}}, "needs `via`"),
        ({"eth0": {"routes": [{"to": "10.0.0.0/8", "via": "fd00::1"}]}}, "two versions of IP"),
        ({"eth0": {"routes": [{"to": "10.0.0.0/8 table 1"}]}}, "10.0.0.0/8 table 1"),
        ({"eth0": {"mtu": 10}}, "expected a number in 68"),
    ],
)
def test_what_is_no_interface_is_refused_in_one_sentence(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_options(Configuration, "external/configuration", {"interfaces": options}, lambda where: "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["local", "prefixlen", "valid_life_time"])
@given(value=st.one_of(st.text(max_size=20), st.none(), st.integers(), st.lists(st.integers(), max_size=2)))
def test_an_ip_that_lies_puts_no_words_into_a_line(key: str, value: object) -> None:
    links = json.loads(json.dumps(LINKS))
    links[0]["addr_info"][0][key] = value
    try:
        found = read_state(["eth0"], links, ROUTES)
    except Failed:
        return
    for text, left in found["eth0"]["addresses"].items():
        assert set(text) <= set("0123456789abcdef.:/") and (left is None or type(left) is int)


@pytest.mark.parametrize("protocol", ["117 table 1", "a\nlink del eth0", ""])
def test_a_route_that_lies_is_refused(protocol: str) -> None:
    with pytest.raises(Failed, match="cannot be read"):
        read_state(["eth0"], LINKS, [{**ROUTES[0], "protocol": protocol}])


def test_the_way_to_a_gateway_comes_before_the_routes_through_it() -> None:
    default, host = ("0.0.0.0/0", "172.31.1.1", 0, "static"), ("172.31.1.1/32", "", 0, "static")
    down: State = {"eth0": {"up": False, "mtu": 1500, "addresses": {}, "routes": []}}
    up: State = {"eth0": {"up": True, "mtu": 1500, "addresses": {}, "routes": [default, host]}}
    lines = lines_between(down, up)
    assert [line.split()[2] for line in lines if line.startswith("route add")] == ["172.31.1.1/32", "0.0.0.0/0"]
