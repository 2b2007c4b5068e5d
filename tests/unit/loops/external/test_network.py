"""The network service: its state and what changes, what listens, name servers, names; hostile texts and floods."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt import Busy, InvalidArgument, NetworkChange, NotFound, Unavailable
from tlsrt.loops.external.link_tables import address_of, link_of, messages, printable, read_tables
from tlsrt.loops.external.name_lookup import ADDRESSES_MAX, WAITING_MAX, NameLookup
from tlsrt.loops.external.network import Network
from tlsrt.loops.external.network_state import TOLD_MAX, Facts, NetworkState, changes, state_of
from tlsrt.loops.external.sockets import DOMAINS_MAX, SERVERS_MAX, listening, name_servers
from tlsrt.testing import FakeEvents, running

ETH = {"name": "eth0", "up": True, "carrier": True, "mtu_bytes": 1500}
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1
   1: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000  1000        0 2
   2: nonsense
   3: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 3
"""


def way(interface: str = "eth0", metric: int = 0, to: str = "0.0.0.0/0") -> dict[str, Any]:
    return {"family": "ipv4", "destination": to, "gateway": "10.0.0.1", "interface": interface, "metric": metric}


def own(address: str = "10.0.0.2", interface: str = "eth0") -> dict[str, Any]:
    scope = "link" if address.startswith("169.254.") else "global"
    return {"interface": interface, "family": "ipv4", "address": f"{address}/24", "scope": scope}


@pytest.mark.parametrize(
    ("links", "addresses", "routes", "is_online"),
    [
        ([ETH], [own()], [way()], True),
        ([ETH | {"carrier": False}], [own()], [way()], False),
        ([ETH], [own()], [], False),
        ([ETH], [own()], [way(to="10.0.0.0/8")], False),
        ([ETH], [own("169.254.1.1")], [way()], False),
        ([ETH], [own(interface="eth1")], [way()], False),
        ([], [], [], False),
    ],
)
def test_online(links: list[Facts], addresses: list[Facts], routes: list[Facts], is_online: bool) -> None:
    assert state_of(links, addresses, routes).online is is_online


def test_the_default_route_is_the_one_of_the_least_metric_whose_link_carries() -> None:
    links = [ETH, {"name": "eth1", "carrier": True}, {"name": "eth2", "carrier": False}]
    state = state_of(links, [], [way(metric=100), way("eth1", 50), way("eth2", 1)])
    assert state.default_route("ipv4") == way("eth1", 50) and state.default_route("ipv6") is None


def test_changes_say_what_came_went_and_changed() -> None:
    before, now = {"a": {"n": 1}, "b": {"n": 1}}, {"b": {"n": 2}, "c": {"n": 3}}
    assert changes(before, now) == [
        {"change": "removed", "n": 1}, {"change": "changed", "n": 2}, {"change": "new", "n": 3},
    ]  # fmt: skip
    assert changes(now, now) == []


def test_of_very_many_changes_a_part_is_told_and_how_many_there_were() -> None:
    told = changes({}, {str(number): {"n": number} for number in range(4000)})
    assert len(told) == TOLD_MAX + 1 and told[-1] == {"change": "more", "count": 4000 - TOLD_MAX}


def test_what_listens() -> None:
    assert list(listening(TCP, "tcp")) == [
        {"protocol": "tcp", "address": "127.0.0.1", "port": 8080, "uid": 1000},
        {"protocol": "tcp", "address": "::1", "port": 22, "uid": 0},
    ]


@given(st.text(max_size=200))
def test_any_text_is_parsed(text: str) -> None:
    for entry in listening(f"head\n{text}", "udp"):
        assert set(entry) == {"protocol", "address", "port", "uid"}
    found = name_servers(text)
    assert len(found["servers"]) <= SERVERS_MAX and len(found["search"]) <= DOMAINS_MAX
    assert all("!" <= sign <= "~" for sign in printable(text))


def test_links_and_addresses_of_this_machine() -> None:
    links, addresses = read_tables()
    assert {one["name"] for one in links} == {printable(name) for name in psutil.net_if_stats()}
    told = {one["address"].partition("/")[0] for one in addresses}
    found = {
        one.address.partition("%")[0] for each in psutil.net_if_addrs().values() for one in each if one.family != 17
    }
    assert told == found


@given(st.binary(max_size=200))
def test_any_datagram_is_messages(data: bytes) -> None:
    for _, body in messages(data):
        if len(body) >= 16:
            assert set(link_of(body)[1]) >= {"name", "up", "carrier", "state", "mtu_bytes", "address"}


def test_an_address_of_another_family_or_of_no_link_is_left_out() -> None:
    assert address_of(bytes(8), {}) is None and address_of(b"\x02" + bytes(7), {0: {"name": "x"}}) is None


def test_name_servers_as_the_c_library_reads_them() -> None:
    text = "# x\nnameserver 192.0.2.53\nnameserver ::1\nnameserver nonsense\n"
    text += "domain old.test\nsearch a.test b.test \x1b[31m\n"
    assert name_servers(text) == {"servers": ["192.0.2.53", "::1"], "search": ["a.test", "b.test"]}
    assert len(name_servers("nameserver 10.0.0.1\n" * 99)["servers"]) == SERVERS_MAX


@pytest.mark.parametrize("name", ["", "a b", "-x.test", "x..test", "a" * 64, "\x1b[2J", "x/../y", "a." * 127 + "b"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InvalidArgument, match="no name of a host"):
        asyncio.run(NameLookup().addresses_of(name))


def _found(*addresses: str) -> Callable[..., list[Any]]:
    return lambda *_, **__: [(2, 1, 6, "", (one, 0)) for one in addresses]


def test_addresses_are_bounded_and_without_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"10.0.0.{number}" for number in range(99)]
    monkeypatch.setattr("socket.getaddrinfo", _found("fe80::1%eth0", "fe80::1%eth1", *many))
    found = asyncio.run(NameLookup().addresses_of("x.test"))
    assert found[:2] == ["fe80::1", "10.0.0.0"] and len(found) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (socket.EAI_NONAME, NotFound, "has no address"),
        (socket.EAI_AGAIN, Unavailable, "no name server answers, or no egress rule"),
    ],
)
def test_each_way_of_having_no_address_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], words: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "x")

    monkeypatch.setattr("socket.getaddrinfo", refused)
    with pytest.raises(kind, match=words):
        asyncio.run(NameLookup().addresses_of("x.test"))


def test_a_flood_of_names_at_silent_servers_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        lookup = NameLookup()
        loop = asyncio.get_running_loop()
        answers = threading.Event()
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: answers.wait(30) and _found("10.0.0.1")())
        asked = [loop.create_task(lookup.addresses_of(f"x{number}.test")) for number in range(WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await lookup.addresses_of("one-more.test")
        answers.set()
        assert await asyncio.gather(*asked) == [["10.0.0.1"]] * WAITING_MAX
        assert await lookup.addresses_of("one-more.test") == ["10.0.0.1"]
        lookup.close()

    asyncio.run(scene())


class Changing(Network):
    """Its state is what the test says."""

    now = NetworkState()

    def read_state(self) -> NetworkState:
        return self.now


async def item(stream: AsyncIterator[Any]) -> Any:
    async with asyncio.timeout(10):
        return await anext(stream)


def test_what_changes_is_told_when_the_kernel_says_so() -> None:
    async def scene() -> None:
        events = FakeEvents()
        async with running(Changing, events=events) as it:
            links, online = it.subscribe("link"), it.subscribe("online")
            addresses = it.subscribe("address")
            await it.call("metrics")  # what was asked before has begun
            it.component.now = state_of([ETH], [own()], [way()])
            events.happen(NetworkChange("link", interface="eth0", index=2))
            assert await item(links) == {"change": "new", **ETH}
            assert await item(addresses) == {"change": "new", **own()}
            assert await item(online) == {"online": True, "ipv4": way(), "ipv6": None}
            it.component.now = state_of([ETH | {"carrier": False}], [own()], [way()])
            events.happen(NetworkChange("resynchronise", dropped=3))
            assert (await item(links))["change"] == "changed"
            assert await item(online) == {"online": False, "ipv4": None, "ipv6": None}
            counters = (await it.call("metrics"))["counters"]
            assert counters["network_events"] == 2 and counters["network_gaps"] == 1

    asyncio.run(scene())


def test_where_the_kernel_lists_nothing_it_runs_says_why_and_goes_on_when_it_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = []

    def read() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        if not found:
            raise OSError(errno.EAFNOSUPPORT, "")
        return found[0]

    monkeypatch.setattr("tlsrt.loops.external.network.POLL_S", 0.01)
    monkeypatch.setattr("tlsrt.loops.external.network.read_tables", read)

    async def scene() -> None:
        async with running(Network) as it:
            links = it.subscribe("link")
            for method in ("links", "addresses", "reachability", "interfaces"):
                with pytest.raises(Unavailable, match=r"family not supported.*add AF_NETLINK to RestrictAddressFam"):
                    await it.call(method)
            assert await it.call("routes") is not None
            found.append(([ETH], []))
            assert await item(links) == {"change": "new", **ETH}

    asyncio.run(scene())
    assert len([one for one in caplog.messages if "changes of the network are not told" in one]) == 1


def test_without_the_grant_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsrt.loops.external.network.POLL_S", 0.01)

    async def scene() -> None:
        async with running(Changing) as it:
            links = it.subscribe("link")
            await it.call("metrics")
            it.component.now = state_of([ETH], [], [])
            assert await item(links) == {"change": "new", **ETH}

    asyncio.run(scene())


def test_names_are_asked_for_only_where_the_operator_says_so(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")

    async def scene() -> None:
        async with running(type("Network", (Changing,), {"etc": tmp_path, "__doc__": "x"})) as it:
            with pytest.raises(Unavailable, match=r"resolve: true.*egress to 192.0.2.53:53/udp"):
                await it.call("resolve", "x.test")
            assert await it.call("name_servers") == {"servers": ["192.0.2.53"], "search": [], "stub": False}

    asyncio.run(scene())


def test_no_resolv_conf_is_null(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(type("Network", (Changing,), {"etc": tmp_path, "__doc__": "x"})) as it:
            assert await it.call("name_servers") == {"servers": None, "search": None, "stub": None}

    asyncio.run(scene())
