"""Attacked sentences: routes, elements of sets, and settings with a capability are made within their grant, and undone.

All of it happens in a network namespace of the test's own: the supervisor makes its sockets of the kernel there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from attackers.helper_attacks import INSIDE, ends_for_asking, tried_in
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running
from probes.process_memory import found_in
from tools.programs import need

from tlsrt.channels.control.life import AskWhat
from tlsrt.errors import CallError, Failed, InvalidArgument

SET, OTHER, BARE = "third/net", "forth/other", "third/bare"
SPACE = f"tlsrt-{os.getpid()}"
QUEUE = Path("/sys/class/net/lo/tx_queue_len")
NET_ADMIN = 1 << 12
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")
# The supervisor acts in the test's namespace, and code in the network helper says what it can reach, when told 1001.
PRELUDE = """
import ctypes
import tlsrt.supervisor.helper.network as network
import tlsrt.supervisor.supervision.effects as effects
_libc = ctypes.CDLL(None, use_errno=True)

def _there(made):
    def wrapped(*arguments):
        home, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(SPACE, os.O_RDONLY)
        try:
            if _libc.setns(there, 0x40000000):
                raise OSError(ctypes.get_errno(), "setns")
            return made(*arguments)
        finally:
            _libc.setns(home, 0x40000000)
            os.close(home)
            os.close(there)
    return wrapped

effects.network_socket, effects.device_index = _there(effects.network_socket), _there(effects.device_index)
_write, _about = network.NETWORK_ACTIONS["write"]

def _captured(message, place):
    if message.value == 1001:
        say_tried(errnos_of_opening(PATHS))
    if message.value == 1002:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    return _write(message, place)

network.NETWORK_ACTIONS["write"] = (_captured, _about)
"""
TABLE = """
table inet filter {
    set blocked { type ipv4_addr; flags timeout; }
    set kept { type ipv4_addr; }
    set six { type ipv6_addr; }
    set ports { type inet_service; }
    set cards { type ether_addr; }
    set marks { type mark; }
    set wide { type ipv4_addr; flags interval; }
}
"""


def _element(name: str, kind: str, values: str, **more: Any) -> dict[str, Any]:
    nft = {"table": "filter", "set": more.pop("set", name), "type": kind, "values": [values], **more}
    return {"name": name, "set": nft, "why": "a test"}


ROUTE = {"to": "10.9.0.0/16", "via": ["10.0.0.2-10.0.0.9"], "devices": ["v0"]}
SETTINGS = [
    {"name": "uplink", "route": ROUTE, "why": "a test"},
    _element("blocked", "ipv4_addr", "192.0.2.0/24", timeout_s=600),
    _element("kept", "ipv4_addr", "192.0.2.0/24", keep=True),
    _element("six", "ipv6_addr", "2001:db8::/32"),
    _element("ports", "inet_service", "1024-2048"),
    _element("cards", "ether_addr", "02:00:00:00:00:00-02:00:00:00:00:ff"),
    _element("marks", "ipv4_addr", "192.0.2.0/24"),
    _element("wide", "ipv4_addr", "192.0.2.0/24"),
    _element("lasting", "ipv4_addr", "192.0.2.0/24", set="kept", timeout_s=60),
    {"name": "queue", "path": str(QUEUE), "values": "1000-1002", "capability": "CAP_NET_ADMIN", "why": "a test"},
]


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def _inside(*words: str) -> str:
    return _ip("netns", "exec", SPACE, *words)


def _held(name: str) -> str:
    return _inside("nft", "list", "set", "inet", "filter", name)


def _routes() -> list[str]:
    return [line for line in _inside("ip", "route", "show", "10.9.0.0/16").splitlines() if "proto 116" in line]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    need("ip")
    need("nft")
    table = tmp_path_factory.mktemp("nft") / "table"
    table.write_text(TABLE)
    _ip("netns", "add", SPACE)
    try:
        _inside("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        _inside("ip", "address", "add", "10.0.0.1/24", "dev", "v0")
        for device in ("v0", "v1"):
            _inside("ip", "link", "set", device, "up")
        _inside("nft", "-f", str(table))
        yield
    finally:
        _ip("netns", "delete", SPACE)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, space: None) -> Iterator[RunningHost]:
    before = QUEUE.read_text()
    bare = {"name": "queue", "path": str(QUEUE), "values": "1000-1002", "why": "a test"}
    paths = [
        ("/etc/passwd", os.O_RDONLY), ("/etc/shadow", os.O_RDONLY), ("/run/netns", os.O_RDONLY),
        ("/dev/mem", os.O_RDWR), ("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY), (str(QUEUE), os.O_WRONLY),
        ("/proc/1/mem", os.O_RDWR), ("/state", os.O_RDONLY),
    ]  # fmt: skip
    one = {"class": "captured.helped:Helped"}
    yield from running(
        request, limits={"stop_timeout_s": 2}, packages=[PACKAGE],
        prelude=LatePrelude(f"SPACE, PATHS = '/run/netns/{SPACE}', {paths}\n{INSIDE}{PRELUDE}"),
        components={SET: one | {"needs": {"settings": SETTINGS}}, OTHER: one,
                    BARE: one | {"needs": {"settings": [bare]}}},
        policy={f"client/admin -> {name}": "*" for name in (SET, OTHER, BARE)},
    )  # fmt: skip
    QUEUE.write_text(before)


def test_a_route_is_made_replaced_and_removed_and_an_administrators_stays(host: RunningHost) -> None:
    _inside("ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.99")
    client = host.client()
    for gateway in ("10.0.0.5", "10.0.0.6%v0"):
        assert client.call(SET, "write_setting", "uplink", gateway) == "done"
        [line] = _routes()
        assert f"via {gateway.partition('%')[0]} dev v0" in line and "metric 1024" in line
    assert client.call(SET, "undo_setting", "uplink", "10.0.0.6") == "done"
    assert client.call(SET, "undo_setting", "uplink", "10.0.0.6") == "done", "what is not there is removed already"
    assert _routes() == [] and "10.0.0.99" in _inside("ip", "route", "show", "10.9.0.0/16")
    _inside("ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.98", "metric", "1024")
    with pytest.raises(Failed, match="File exists"):
        client.call(SET, "write_setting", "uplink", "10.0.0.5")
    assert _routes() == []
    assert client.call(SET, "undo_setting", "uplink", "10.0.0.5") == "done"
    assert "10.0.0.98" in _inside("ip", "route", "show", "10.9.0.0/16"), "neither replaced nor removed"
    _inside("ip", "route", "del", "10.9.0.0/16", "via", "10.0.0.98", "metric", "1024")
    host.told("route to 10.9.0.0/16", "via 10.0.0.6 on v0", "removed: via", by=("audit", "tail"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("blocked", "192.0.2.7"), ("six", "2001:db8::7"), ("ports", 1027), ("cards", "02:00:00:00:00:07")],
)
def test_an_element_is_put_into_its_set_and_taken_out(host: RunningHost, name: str, value: int | str) -> None:
    client = host.client()
    for _ in range(2):  # one that is there begins anew
        assert client.call(SET, "write_setting", name, value) == "done"
        assert str(value) in _held(name)
    assert ("expires" in _held(name)) is (name == "blocked")
    assert client.call(SET, "undo_setting", name, value) == "done"
    assert str(value) not in _held(name)


@pytest.mark.parametrize("name", ["marks", "wide", "lasting"])
def test_a_set_of_another_kind_takes_nothing(host: RunningHost, name: str) -> None:
    """One of numbers as long as addresses, one of intervals, one without times."""
    with pytest.raises(Failed, match="Invalid argument"):
        host.client().call(SET, "write_setting", name, "192.0.2.7")
    assert all("192.0.2.7" not in _held(one) for one in ("marks", "wide", "kept"))


def test_a_capability_is_had_by_the_grant_that_names_it_and_by_no_other(host: RunningHost) -> None:
    assert host.client().call(SET, "write_setting", "queue", 1000) == "done"
    with pytest.raises(Failed, match="not permitted"):
        host.client().call(BARE, "write_setting", "queue", 1000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uplink", "10.0.0.10"), ("uplink", "0.0.0.0"), ("uplink", "10.0.0.5%lo"), ("uplink", "default"),
        ("blocked", "0.0.0.0/0"), ("blocked", "198.51.100.1"), ("ports", 22), ("six", "::"), ("queue", 999),
    ],
)  # fmt: skip
def test_a_value_outside_its_range_is_refused_with_the_range(host: RunningHost, name: str, value: int | str) -> None:
    with pytest.raises(InvalidArgument, match=name):
        host.client().call(SET, "write_setting", name, value)


def test_what_is_not_kept_is_undone_when_its_process_has_ended(host: RunningHost) -> None:
    client, before = host.client(), host.loop("third.net")
    for name, value in (("uplink", "10.0.0.5"), ("blocked", "192.0.2.9"), ("kept", "192.0.2.9")):
        assert client.call(SET, "write_setting", name, value) == "done"
    os.kill(before["pid"], 9)
    host.until(lambda document: not _routes() and "192.0.2.9" not in _held("blocked"), "the end of both")
    assert "192.0.2.9" in _held("kept")
    host.until(lambda document: host.loop("third.net")["restarts"] > before["restarts"], "its end")
    host.until(lambda document: host.loop("third.net")["state"] == "active", "the next one")


@pytest.mark.parametrize(
    ("what", "grant", "value", "high", "choice", "word"),
    [
        (AskWhat.SET, 0, 0x0A00000A, 0, 0, "setting_out_of_range"),  # another gateway
        (AskWhat.SET, 0, 0, 0, 0, "setting_out_of_range"),  # none
        (AskWhat.SET, 0, 0x0A000005, 0, 1, "setting_out_of_range"),  # another device
        (AskWhat.SET, 0, 0x0A000005, 1, 0, "setting_out_of_range"),  # beyond 32 bits
        (AskWhat.UNSET, 1, 0xC6336401, 0, 0, "setting_out_of_range"),
        (AskWhat.UNSET, 9, 1000, 0, 0, "setting_cannot_be_unset"),
        (AskWhat.SET, 10, 1000, 0, 0, "no_such_setting"),
    ],
)
def test_what_is_not_granted_ends_the_process(
    host: RunningHost, what: int, grant: int, value: int, high: int, choice: int, word: str
) -> None:
    assert word in ends_for_asking(host, SET, int(what), grant, value, 1, high, choice) and _routes() == []


def test_a_component_without_a_grant_has_none_of_anothers(host: RunningHost) -> None:
    assert "no_such_setting" in ends_for_asking(host, OTHER, int(AskWhat.SET), 0, 0x0A000005) and _routes() == []


def test_code_in_the_network_helper_has_one_capability_and_opens_nothing(host: RunningHost) -> None:
    assert host.client().call(SET, "write_setting", "queue", 1001) == "done"
    tried = tried_in(host, "network_helper")
    assert 0 not in tried.values(), tried
    pid = host.status()["network_helper"]["pid"]
    status = (Path(f"/proc/{pid}/status")).read_text().splitlines()
    held = {line.split()[0]: int(line.split()[1], 16) for line in status if line.startswith("Cap")}
    assert held == {"CapInh:": 0, "CapPrm:": NET_ADMIN, "CapEff:": NET_ADMIN, "CapBnd:": 0, "CapAmb:": 0}
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    kernel = [one for one in Path(f"/proc/{pid}/fd").iterdir() if not _is_known(host, os.readlink(one))]
    assert kernel == [], "it holds no socket of the kernel when it has nothing to do"
    keys = {"master key": (host.folder / "master.key").read_bytes(), "CA key": (host.folder / "ca.key").read_bytes()}
    assert found_in(pid, keys) == set()


def _is_known(host: RunningHost, what: str) -> bool:
    names = (str(host.config.log_dir / "network_helper.log"), str(host.config.state_dir / "lock"), "/dev/null")
    return what in names or what.startswith("socket:")


def test_it_makes_no_socket_of_the_kernel_itself(host: RunningHost) -> None:
    before = host.status()["network_helper"]["restarts"]
    with pytest.raises(CallError):
        host.client().call(SET, "write_setting", "queue", 1002)
    host.until(lambda document: document["network_helper"]["restarts"] > before, "its end")
    assert "violation" in host.status()["network_helper"]["last_death"]["sentence"]
    host.until(lambda document: document["network_helper"]["state"] == "active", "the next one")
    assert host.client().call(SET, "write_setting", "blocked", "192.0.2.7") == "done"


def test_what_is_granted_is_explained(host: RunningHost) -> None:
    shown = host.cli("sandbox", "show", "third.net").stdout
    for words in ("route to 10.9.0.0/16 via 10.0.0.2-10.0.0.9 on v0", "in set blocked of table inet filter"):
        assert words in " ".join(shown.split()), shown
    explained = host.cli("sandbox", "explain", "third.net", str(QUEUE))
    assert explained.returncode == 0 and "by the network helper, with CAP_NET_ADMIN" in explained.stdout
    assert "CAP_NET_ADMIN" in host.cli("sandbox", "show", "network_helper").stdout
    assert "network_helper: active" in host.cli("status").stdout


def test_a_stop_of_the_host_waits_until_it_is_undone_and_not_for_a_helper_that_hangs(host: RunningHost) -> None:
    """The last one here: the host stops, and starts again."""
    for hangs in (False, True):
        assert host.client().call(SET, "write_setting", "uplink", "10.0.0.5") == "done"
        assert host.client().call(SET, "write_setting", "blocked", "192.0.2.10") == "done"
        if hangs:
            os.kill(host.status()["network_helper"]["pid"], signal.SIGSTOP)
        began = time.monotonic()
        assert host.stop() == 0
        if not hangs:
            assert _routes() == [] and "192.0.2.10" not in _held("blocked")
            host.start()
    assert time.monotonic() - began < 2 + host.config.limits.stop_timeout_s + 10
    left = [line for line in host.console if "not undone" in line]
    assert len(left) == 1 and "1 of third/net: " in left[0] and "undo it by hand" in left[0], host.console
    assert "192.0.2.10" in _held("blocked"), "nothing was undone behind its back"
    told = [line for line in host.cli("audit", "tail").stdout.splitlines() if "not undone: 1 of it" in line]
    assert len(told) == 2, "the audit log says what is left"
