"""Attacked sentences: a captured resolver reaches nothing, and what it says of a name is judged like any server's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.name_server import NameServer, name_server
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running
from probes.process_memory import found_in

PACKAGE = Path(__file__).parents[1] / "hosts" / "fetching_package" / "fetching"
COMPONENT = "forth/fetcher"
# What code in the resolver tries, after its seal, each when it is to ask for a certain name.
PRELUDE = """
import json, os, socket
import tlsrt.supervisor.resolver.main as resolver
from tlsrt.supervisor.supervision import name_lookup
name_lookup.LEAST_S, name_lookup.LINGER_S, name_lookup.ABSENT_S, name_lookup.RETRY_MOST_S = 0.2, 1.0, 0.2, 0.2
_decode = resolver.decode_untrusted

def _errno(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0

def _captured(packet, question):
    answer, name = _decode(packet, question), question.name.decode()
    if name == "tries.test" and not os.environ.get("TRIED"):
        os.environ["TRIED"] = "1"
        paths = ("/etc/passwd", "/etc/resolv.conf", "/etc/hosts", "/proc/1/mem", "/run", "/state", "/tmp")
        tried = {path: _errno(lambda: os.close(os.open(path, os.O_RDONLY))) for path in paths}
        os.write(2, ("TRIED " + json.dumps(tried) + chr(10)).encode())
    if name == "reaches.test" and answer.addresses:
        socket.socket(socket.AF_INET)
    if name == "lies.test":
        inside = [socket.inet_aton(one) for one in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1")]
        return resolver.DnsAnswer(0, False, tuple(inside) if question.kind == 1 else (bytes(15) + b"\\1",), 10**9)
    if name == "more.test" and answer.addresses:
        return resolver.DnsAnswer(0, False, tuple(bytes([1, 1, 1, one]) for one in range(33)), 1)
    return answer

resolver.decode_untrusted = _captured
"""


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with name_server() as server:
        server.records.update({"tries.test": ["127.0.0.1"], "lies.test": ["8.8.8.8"], "good.test": ["127.0.0.1"]})
        yield server


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, server: NameServer) -> Iterator[RunningHost]:
    near = {"to": ["tries.test:*", "good.test:*"], "within": ["127.0.0.0/8"], "why": "a test"}
    far = {"to": ["lies.test:*", "more.test:*", "reaches.test:*"], "why": "a test"}
    components = {COMPONENT: {"class": "fetching:Fetcher", "needs": {"egress": [near, far]}}}
    yield from running(
        request, components=components, policy={f"client/admin -> {COMPONENT}": "*"}, packages=[PACKAGE],
        prelude=LatePrelude(PRELUDE), extra={"resolver": {"servers": [f"127.0.0.1:{server.port}"]}},
    )  # fmt: skip


def entry(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in status["names"] if one["name"] == name)


def test_what_a_captured_resolver_says_is_judged(host: RunningHost) -> None:
    status = host.until(lambda status: len(entry(status, "lies.test")["refused"]) == 5, "what it says of lies.test")
    assert entry(status, "lies.test")["addresses"] == []
    with host.client() as client:
        assert "not known" in client.call(COMPONENT, "look_up", "lies.test")[0]
        assert client.call(COMPONENT, "fetch", "10.0.0.1", 443) == "EACCES"


def test_code_in_the_resolver_reaches_nothing(host: RunningHost) -> None:
    host.until(lambda status: bool(entry(status, "tries.test")["addresses"]), "an answer")
    line = next(line for line in host.log("resolver").splitlines() if "TRIED " in line)
    tried = json.loads(line.partition("TRIED ")[2])
    assert 0 not in tried.values(), tried
    folder = Path(f"/proc/{host.status()['resolver']['pid']}")
    text = (folder / "status").read_text()
    capabilities = [line.split()[1] for line in text.splitlines() if line.startswith("Cap")]
    assert [int(one, 16) for one in capabilities] == [0] * 5
    uids = next(line.split()[1:] for line in text.splitlines() if line.startswith("Uid:"))
    others = {os.stat(f"/proc/{loop['pid']}").st_uid for loop in host.status()["loops"]}
    assert len(set(uids)) == 1 and (os.geteuid() != 0 or int(uids[0]) not in {0, *others})
    keys = {"master key": (host.folder / "master.key").read_bytes(), "CA key": (host.folder / "ca.key").read_bytes()}
    assert found_in(host.status()["resolver"]["pid"], keys) == set()


@pytest.mark.parametrize(
    ("name", "word"), [("reaches.test", "violation"), ("more.test", "bad_addresses")], ids=["network", "protocol"]
)
def test_a_captured_resolver_that_wants_a_network_is_killed_and_another_comes(
    host: RunningHost, server: NameServer, name: str, word: str
) -> None:
    before = host.status()["resolver"]
    server.records[name] = ["8.8.8.8"]
    try:
        host.until(lambda status: status["resolver"]["restarts"] > before["restarts"], "its end")
        assert word in host.status()["resolver"]["last_death"]["sentence"]
    finally:
        del server.records[name]
    host.until(lambda status: status["resolver"]["state"] == "active", "the next one")
    host.until(lambda status: entry(status, "good.test")["addresses"] == ["127.0.0.1"], "a name that stays")
