"""D-Bus grants: a real bus behind a real xdg-dbus-proxy, and what a captured component tries to reach on it."""

from __future__ import annotations

import io
import os
import shutil
import signal
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from attackers.arena import PACKAGE
from dbus_fast import Message, MessageType
from dbus_fast._private.unmarshaller import Unmarshaller
from fakes.bus_daemon import BUS, BusServices, bus_daemon
from hosts.reloading_host import edit, outcomes, reload, seal_host
from hosts.running_host import RunningHost, running, uid_base
from hosts.scripted_host import wait_until_gone
from probes.sandbox_runner import MODES, NOBODY
from tools.programs import need

TALK, OTHER, SYSTEMD, PYTHON = "forth/talk", "forth/other", "forth/systemd", "forth/python"
LAMP, DOOR = "org.example.Lamp", "org.example.Door"
UID_BASE = uid_base()
ATTACK = "org.example.Attack"
DENIED = ("org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.ServiceUnknown",
          "org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.DBus.Error.UnknownMethod")  # fmt: skip


@dataclass(slots=True)
class World:
    """A host with two components that may use parts of a bus, and services on it."""

    host: RunningHost
    bus: Path
    services: BusServices
    is_rootless: bool
    serial: int = 0

    def ask(self, method: str, *arguments: object, component: str = TALK) -> Any:
        with self.host.client() as client:
            return client.call(component, method, *arguments)

    def join(self, component: str = TALK) -> str:
        """Connect, and return the unique name."""
        uid = NOBODY if self.is_rootless else -1  # there it is 0 in its own user namespace
        assert self.ask("join", str(self.bus), uid, component=component).startswith("OK")
        (hello, *_) = self.say(Message(BUS, "/org/freedesktop/DBus", BUS, "Hello"), begin=True, component=component)
        name: str = hello.body[0]
        return name

    def say(self, *messages: Message, begin: bool = False, component: str = TALK) -> list[Message]:
        """Send messages in one piece; return what has come when the last one is answered."""
        data = b"BEGIN\r\n" if begin else b""
        for message in messages:
            self.serial += 1
            message.serial = self.serial
            data += bytes(message._marshall(False))
        return _messages(self.ask("converse", data, b"\5\1u\0" + struct.pack("<I", self.serial), component=component))

    def call(self, destination: str, interface: str | None, member: str, path: str = "/thing", component: str = TALK,
             signature: str = "", body: list[object] | None = None) -> str:  # fmt: skip
        """Call a method; return the name of the error, or "done"."""
        asked = Message(destination, path, interface, member, signature=signature, body=body or [])
        (answer,) = [one for one in self.say(asked, component=component) if one.reply_serial == asked.serial]
        return answer.error_name or "done"

    def proxy(self, process: str = "forth.talk") -> dict[str, Any]:
        (found,) = self.host.loop(process)["programs"]
        return dict(found)


def _messages(data: bytes) -> list[Message]:
    stream, found = io.BytesIO(data), list[Message]()
    while stream.tell() < len(data):
        message = Unmarshaller(cast(Any, stream)).unmarshall()
        if message is None:
            break
        found.append(message)
    return found


@pytest.fixture(scope="module", params=MODES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    need("xdg-dbus-proxy")
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-bus."))
    folder.chmod(0o755)
    path = folder / "bus.sock"
    one = {"bus": str(path), "why": "the test", "call": {LAMP: ["org.example.Light.Set@/thing", "org.example.Two.*"]},
           "hear": {LAMP: ["org.example.Light.Changed"]}, "own": ["org.example.Talk"]}  # fmt: skip
    other = {"bus": str(path), "why": "the test", "call": {DOOR: ["org.example.Light.Set"]}}
    components = {
        TALK: {"class": "captured.bus_talk:Talk", "needs": {"buses": [one]}},
        OTHER: {"class": "captured.bus_talk:Talk", "needs": {"buses": [other]}},
        SYSTEMD: {"class": "captured.sdbus_talk:SdbusTalk", "needs": {"buses": [one]}},
        PYTHON: {"class": "captured.dbus_fast_talk:DbusFastTalk", "needs": {"buses": [one]}},
    }
    policy = {f"client/admin -> {component}": "*" for component in components}
    try:
        with bus_daemon(path, range(UID_BASE, UID_BASE + 512)):
            services = BusServices(path, LAMP, DOOR)
            try:
                hosts = running(request, packages=[PACKAGE], mode=request.param, components=components, policy=policy)
                for host in hosts:
                    yield World(host, path, services, request.param == "rootless")
            finally:
                services.close()
    finally:
        shutil.rmtree(folder)


def test_what_is_listed_passes_and_nothing_else(world: World) -> None:
    name = world.join()
    assert world.call(LAMP, "org.example.Light", "Set") == "done"
    assert world.call(LAMP, "org.example.Two", "Anything", "/elsewhere") == "done"
    owner = world.services.buses[LAMP].unique_name
    assert owner is not None and world.call(owner, "org.example.Light", "Set") == "done"
    assert world.call(BUS, BUS, "RequestName", "/", signature="su", body=["org.example.Talk", 0]) == "done"
    world.services.got.clear()
    door = world.services.buses[DOOR].unique_name
    refused = [
        world.call(LAMP, "org.example.Light", "Get"),
        world.call(LAMP, None, "Set"),
        world.call(LAMP, "org.example.Light", "Set", "/other"),
        world.call(LAMP, "org.example.Two.Below", "Anything"),
        world.call(LAMP, "org.freedesktop.DBus.Properties", "Set"),
        world.call(DOOR, "org.example.Light", "Set"),
        world.call(str(door), "org.example.Light", "Set"),
        world.call(BUS, BUS, "RequestName", "/", signature="su", body=["org.example.Else", 0]),
        world.call(BUS, BUS, "UpdateActivationEnvironment", "/", signature="a{ss}", body=[{}]),
        world.call(BUS, BUS, "GetConnectionUnixUser", "/", signature="s", body=[DOOR]),
    ]
    assert set(refused) <= set(DENIED), refused
    world.services.settle()
    assert [one for one in world.services.got if one[3] == name] == []


def test_the_library_of_systemd_speaks_to_it_as_it_is(world: World) -> None:
    assert world.ask("switch", str(world.bus), LAMP, component=SYSTEMD) == ["done", "DbusAccessDeniedError"]
    assert world.host.loop("forth.systemd")["violations"] == 0


def test_a_library_that_tells_the_bus_its_uid_works_without_root_too(world: World) -> None:
    done, refused = world.ask("switch", str(world.bus), LAMP, component=PYTHON)
    assert done == "done" and refused in DENIED
    assert world.host.loop("forth.python")["violations"] == 0


def test_signals_are_heard_as_listed_and_none_is_sent_to_anyone_in_particular(world: World) -> None:
    name = world.join()
    assert world.call(BUS, BUS, "AddMatch", "/", signature="s", body=["type='signal'"]) == "done"
    for service, interface, member in (
        (LAMP, "org.example.Light", "Changed"),
        (LAMP, "org.example.Light", "Broken"),
        (DOOR, "org.example.Light", "Changed"),
    ):
        world.services.emit(service, interface, member)
    world.services.settle()
    direct = [
        Message(LAMP, "/thing", ATTACK, "Direct", message_type=MessageType.SIGNAL),
        Message(DOOR, "/thing", ATTACK, "Direct", message_type=MessageType.SIGNAL),
        Message(BUS, "/org/freedesktop/DBus", BUS, "GetId"),
    ]
    heard = [
        (one.interface, one.member, one.sender)
        for one in world.say(*direct)
        if one.message_type is MessageType.SIGNAL and one.sender != BUS
    ]
    assert heard == [("org.example.Light", "Changed", world.services.buses[LAMP].unique_name)]
    world.services.settle()
    assert not [one for one in world.services.got if one[2] == "Direct" and one[3] == name]


@pytest.mark.parametrize(
    "rule", ["eavesdrop=true", "eavesdrop='true'", "type='signal', eavesdrop ='true'", "eavesdrop=t'ru'e"]
)
def test_it_cannot_listen_to_what_others_say(world: World, rule: str) -> None:
    world.join()
    assert world.call(BUS, BUS, "AddMatch", "/", signature="s", body=[rule]) in DENIED
    monitoring = "org.freedesktop.DBus.Monitoring"
    assert world.call(BUS, monitoring, "BecomeMonitor", "/", signature="asu", body=[[], 0]) in DENIED
    assert world.call(BUS, None, "BecomeMonitor", "/", signature="asu", body=[[], 0]) in DENIED


def test_the_bus_sees_the_component_and_nobody_else_is_believed(world: World) -> None:
    name = world.join()
    asked = Message(BUS, "/", BUS, "GetConnectionUnixUser", signature="s", body=[name])
    (uid,) = next(one.body for one in world.say(asked) if one.reply_serial == asked.serial)
    own = NOBODY if world.is_rootless else _uid_of(world.host.loop("forth.talk")["pid"])
    assert uid == own and (world.is_rootless or _uid_of(world.proxy()["running"][0]["pid"]) not in (0, own))
    assert world.ask("join", str(world.bus), own + 1).startswith("REJECTED")
    assert world.ask("join", str(world.bus), 0).startswith("REJECTED")


def test_each_component_has_a_proxy_of_its_own_and_reaches_no_other(world: World) -> None:
    world.join()
    world.join(OTHER)
    assert world.call(DOOR, "org.example.Light", "Set", component=OTHER) == "done"
    assert world.call(LAMP, "org.example.Light", "Set", component=OTHER) in DENIED
    folder = world.host.config.run_dir / "bus"
    assert len(os.listdir(folder)) == 4 and folder.stat().st_mode & 0o777 == 0o700
    for place in (*folder.iterdir(), Path("/bus"), Path("/tmp/bus")):
        assert world.ask("join", str(place), -1) in ("EACCES", "EPERM")


def test_what_it_does_to_its_proxy_ends_its_own_connections(world: World) -> None:
    world.join()
    pid = world.proxy()["running"][0]["pid"]
    assert world.ask("kill", pid) in ("EPERM", "ESRCH")
    assert world.ask("pass_descriptor", str(world.bus)) == "ENOTSOCK"
    world.ask("join", str(world.bus), -1, "BEGIN\r\n" + "x" * 4096)
    world.join()
    assert world.call(LAMP, "org.example.Light", "Set") == "done"
    pid = world.proxy()["running"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    assert world.ask("ended")
    wait_until_gone([pid])  # it still listens for a moment, and resets who connects then
    world.join()
    assert world.call(LAMP, "org.example.Light", "Set") == "done"
    assert world.proxy()["begun"] >= 2


def test_it_is_explained_and_shown(world: World) -> None:
    asked = world.host.cli("sandbox", "explain", "forth.talk", str(world.bus)).stdout
    assert "to a proxy that passes on what the grant lists" in " ".join(asked.split())
    assert "through a proxy" in " ".join(world.host.cli("sandbox", "show", "forth.talk").stdout.split())


def test_a_proxy_ends_with_its_component_and_a_reload_changes_what_passes(world: World) -> None:
    world.join()
    before = world.proxy()["running"][0]["pid"]
    edit(world.host, lambda document: _call(document, ["org.example.Light.Get"]))
    seal_host(world.host)
    assert outcomes(reload(world.host))["forth.talk"] == "restarted"
    world.join()
    assert not Path(f"/proc/{before}").exists()
    assert world.call(LAMP, "org.example.Light", "Get") == "done"
    assert world.call(LAMP, "org.example.Light", "Set") in DENIED


def _call(document: Any, rules: list[str]) -> None:
    document["components"][TALK]["needs"]["buses"][0]["call"][LAMP] = rules


def _uid_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Uid:")))
