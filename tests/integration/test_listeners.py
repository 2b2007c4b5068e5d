"""Listening sockets of components: bound by the supervisor, kept over restarts, taken by a reload, and no way out."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.reloading_host import edit, outcomes, reload, seal_host
from hosts.running_host import RunningHost, free_port, running
from probes.sandbox_runner import MODES

DOORS = "third/doors"
SELF_BOUND = "third/selfbound"


@dataclass(frozen=True, slots=True)
class World:
    """A host whose component has doors, and where they are."""

    host: RunningHost
    ports: dict[str, int]
    needs: dict[str, Any]

    def ask(self, method: str, *arguments: object) -> Any:
        with self.host.client() as client:
            return client.call(DOORS, method, *arguments)

    def echo(self, name: str = "echo") -> str:
        with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=10) as client:
            client.sendall(b"ping")
            return client.recv(4).decode()

    def datagram(self, name: str, *, answer: bool) -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect(("127.0.0.1", self.ports[name]))
            client.send(b"ping")
            return client.recv(4).decode() if answer else ""


@pytest.fixture(scope="module", params=MODES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    ports = {name: free_port() for name in ("echo", "beacon", "sink", "more", "own")}
    needs: dict[str, Any] = {
        "listen": [
            {"name": "echo", "port": ports["echo"], "why": "the test connects to it"},
            {"name": "beacon", "port": ports["beacon"], "protocol": "udp", "answers": True, "why": "it answers"},
            {"name": "sink", "port": ports["sink"], "protocol": "udp", "why": "it only receives"},
        ]
    }
    own = {"listen": [{"name": "own", "port": ports["own"], "why": "a library binds it"}]}
    components: dict[str, Any] = {
        DOORS: {"class": "captured.doors:Doors", "needs": needs},
        SELF_BOUND: {"class": "captured.doors:SelfBound", "needs": own, "options": {"port": ports["own"]}},
    }
    hosts = running(
        request, packages=[PACKAGE], mode=request.param, components=components,
        policy={f"client/admin -> {one}": "*" for one in (DOORS, SELF_BOUND)},
    )  # fmt: skip
    for host in hosts:
        yield World(host, ports, needs)


def test_connections_and_datagrams_reach_the_component_and_nothing_is_refused_meanwhile(world: World) -> None:
    assert world.echo() == "ping" and world.datagram("beacon", answer=True) == "ping"
    world.datagram("sink", answer=False)
    assert world.ask("received") == "ping"
    assert world.host.loop("third.doors")["violations"] == 0
    assert "no listener 'ecco', did you mean 'echo'?" in world.ask("unknown")


def test_a_library_that_takes_an_address_serves_on_the_listener_and_binds_nothing_else(world: World) -> None:
    assert world.echo("own") == "ping" and world.host.loop("third.selfbound")["violations"] == 0
    with world.host.client() as client:
        assert client.call(SELF_BOUND, "threads") == "1", "numpy can be imported before the seal"
        found = client.call(SELF_BOUND, "elsewhere", world.ports["more"])
    assert found == {"binds": "EACCES", "connects": "EPERM", "makes one": "EPERM", "binds the listener": "EPERM"}
    assert world.echo("own") == "ping"


def test_each_is_told_where_an_operator_looks(world: World) -> None:
    place = f"127.0.0.1:{world.ports['echo']}/tcp"
    world.host.wait_for(rf"listener +open +{place} for third/doors \(echo\): the test connects to it")
    shown = world.host.cli("sandbox", "show", "third.doors").stdout
    assert place in shown and "the test connects to it" in shown
    assert f"127.0.0.1:{world.ports['beacon']}/udp, and may send from there to any host" in shown
    assert world.host.cli("sandbox", "explain", "third.doors", "accept4").returncode == 0
    assert world.host.cli("sandbox", "explain", "third", "accept4").returncode == 1
    world.host.told(place, '"listening"', by=("events", "--kind", "security", "--json"))
    world.host.told(f"third/doors listens on {place}", by=("audit", "tail", "-n", "100"))


def test_what_connects_while_the_component_is_restarted_waits(world: World) -> None:
    """The supervisor holds the socket, so the kernel takes the connection before a process is there to."""
    before = len(world.host.console)
    world.host.kill("third.doors")
    assert world.echo() == "ping"
    world.host.wait_for("third.doors +active", after=before)


def test_a_captured_component_reaches_nothing_by_its_doors_and_opens_no_other(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as neighbour:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", 0))
            datagrams.setblocking(False)
            found = world.ask("attempt", datagrams.getsockname()[1])
            with pytest.raises(BlockingIOError):
                datagrams.recv(1)
        neighbour.setblocking(False)
        with pytest.raises(BlockingIOError):
            neighbour.accept()
    refused = ("EPERM", "EACCES")
    assert found.pop("ends it") == "allowed"  # of itself
    assert all(value in refused for value in found.values()), found
    world.host.respawn("third.doors")
    assert world.echo() == "ping", "its next process gets the socket as it was"


def test_a_port_that_another_takes_meanwhile_is_told_and_ends_no_host(world: World) -> None:
    """A captured component ends its listener for that; its next processes find no socket there."""
    host, place, seen = world.host, f"127.0.0.1:{world.ports['echo']}", len(world.host.console)
    world.ask("attempt", 9)
    with socket.create_server(("127.0.0.1", world.ports["echo"])):
        host.kill("third.doors")
        for _ in range(2):
            said = host.wait_for(f"third.doors +warning .*not listen on {place}/tcp", after=seen)
            assert "another program already listens" in said
            seen = host.console.index(said, seen) + 1
    host.wait_for("third.doors +active", after=seen)
    assert world.echo() == "ping"


def test_the_number_of_the_socket_that_answers_can_be_given_to_no_other(world: World) -> None:
    number = world.ask("number")
    assert number >= 256, "not below its limit of descriptors"
    assert set(world.ask("at_import")) == {"EBADF"}
    found = world.ask("renumber")
    assert found == {
        "copy": "EINVAL", "copy at once": "EPERM", "all numbers": "EMFILE", "reached it": "False", "sends": "EBADF"
    }  # fmt: skip
    world.host.respawn("third.doors")
    assert world.datagram("beacon", answer=True) == "ping"


def test_reload_opens_and_closes_doors_and_refuses_one_that_is_taken(world: World) -> None:
    host, listen = world.host, world.needs["listen"]
    more = {"name": "more", "port": world.ports["more"], "why": "a further door"}
    with socket.create_server(("127.0.0.1", world.ports["more"])):
        edit(host, lambda document: document["components"][DOORS]["needs"].update(listen=[*listen, more]))
        seal_host(host)
        (said,) = reload(host, code=78)["said"]
        assert f"another program already listens on 127.0.0.1:{world.ports['more']}" in said and ".yaml:" in said
        assert world.echo() == "ping"
    found = outcomes(reload(host))
    assert found["third.doors"] == "restarted" and found["third"] == "unchanged"
    host.wait_for(rf"listener +open +127.0.0.1:{world.ports['more']}/tcp for third/doors \(more\)")
    socket.create_connection(("127.0.0.1", world.ports["more"]), timeout=10).close()
    edit(host, lambda document: document["components"][DOORS]["needs"].update(listen=listen))
    seal_host(host)
    assert outcomes(reload(host))["third.doors"] == "restarted"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", world.ports["more"]), timeout=10)
    assert world.echo() == "ping"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"port": "door"}, "cannot listen on 127.0.0.1:{door}/tcp: the door does; choose another port"),
        ({"name": "beacon"}, "has two listeners beacon"),
        ({"answers": True}, "cannot have `answers` over tcp"),
        ({"protocol": "udp", "answers": True, "replies": True}, "cannot have both `answers` and `replies`"),
        ({"protocol": "udp", "group": "ff02::fb"}, "cannot join ff02::fb without `interface`"),
        (
            {"protocol": "udp", "host": "fe80::1", "replies": True},
            "cannot have `replies` on fe80::1: each link has such addresses",
        ),
        ({"replies_per_s": 500}, "cannot have `replies_per_s`: it is for a program with `replies`"),
        ({"group": "239.255.0.1"}, "only a component's udp socket joins one"),
    ],
)
def test_a_conflict_is_a_sentence_with_its_place(world: World, change: dict[str, Any], sentence: str) -> None:
    host, door = world.host, world.host.config.door.port
    port = door if change.get("port") == "door" else world.ports["echo"]
    path = host.folder / "conflict.yaml"
    before = host.config_path.read_text()
    edit(host, lambda document: document["components"][DOORS]["needs"]["listen"][0].update({**change, "port": port}))
    path.write_text(host.config_path.read_text())
    host.config_path.write_text(before)
    done = host.cli("seal", config=path)
    assert done.returncode == 78 and sentence.format(door=door) in done.stderr, done.stderr
    assert f"{path}:" in done.stderr and os.fspath(Path(path)) in done.stderr
