"""Sockets of programs on a real host: they bind what is granted, reach what is listed, and say how they are."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, free_port, running
from tools.programs import need

PACKAGE = Path(__file__).parent.parent / "hosts" / "kept_package" / "kept"
KEEPER = "third/keeper"
CONF = "/etc/mosquitto/broker.conf"
WHY = "a test keeps it running"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
SERVER = """
import http.server, os, socket, sys, threading
class Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from Python")
def tell(notice):
    path = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.sendto(notice + b"=sendto", path)
        one.sendmsg([notice, b"=send", b"msg"], [], 0, path)
        one.connect(path)
        one.send(notice + b"=send")
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Greeter)
tell(b"READY")
with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as known:
    tell(known.recv(100))
server.serve_forever()
"""


@dataclass(frozen=True, slots=True)
class World:
    """A host that keeps a broker, a script and a static binary running, and a server that one of them may reach."""

    host: RunningHost
    ports: dict[str, int]
    secret: socket.socket  # that no rule lists

    def greeting(self) -> str:
        with socket.create_connection(("127.0.0.1", self.ports["static"]), timeout=10) as client:
            return client.makefile().readline().strip()


def serve(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.sendall(b"STATUS")


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    need("mosquitto")
    need("cc")
    folder = tmp_path_factory.mktemp("run")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    subprocess.run(
        ["cc", "-static", "-o", folder / "greeter", PACKAGE.parent / "greeter.c"], check=True, timeout=60
    )  # fmt: skip
    ports = {name: free_port() for name in ("mqtt", "web", "static")}
    with socket.create_server(("127.0.0.1", 0)) as known, socket.create_server(("127.0.0.1", 0)) as secret:
        threading.Thread(target=serve, args=[known], daemon=True).start()
        reached, hidden = (str(one.getsockname()[1]) for one in (known, secret))
        text = f"listener {ports['mqtt']} 127.0.0.1\nallow_anonymous true\n"
        kept = {"args": ["{rest:text}..."], "why": WHY, "life": "kept"}
        doors = {name: [{"name": name, "port": port, "why": WHY}] for name, port in ports.items()}
        programs: dict[str, Any] = {
            "mqtt": kept | {
                "run": os.path.realpath(shutil.which("mosquitto") or ""), "files": {CONF: text},
                "listen": doors["mqtt"], "notifies": True,
            },
            "web": kept | {
                "run": PYTHON, "args": ["-c {script:/(?s:.*)/} {port:1-65535} {port:1-65535}"],
                "read": [sysconfig.get_path("stdlib")], "listen": doors["web"], "notifies": True,
                "environment": {"PYTHONHOME": sys.base_prefix, "PYTHONDONTWRITEBYTECODE": "1"},
                "egress": [{"to": [f"127.0.0.1:{reached}"], "why": WHY}],
            },
            "static": kept | {
                "run": str(folder / "greeter"), "args": ["{port:1-65535} {port:1-65535}"], "listen": doors["static"],
            },
        }  # fmt: skip
        programs["mqtt"]["args"] = ["-c {file:text}"]
        keep = [
            ["mqtt", "-c", CONF],
            ["web", "-c", SERVER, str(ports["web"]), reached],
            ["static", str(ports["static"]), hidden],
        ]
        component = {
            "class": "kept.keeper:Keeper", "programs": programs, "options": {"keep": keep, "hears": ["mqtt", "web"]}
        }  # fmt: skip
        policy = {f"client/admin -> {KEEPER}": "*"}
        hosts = running(request, components={KEEPER: component}, policy=policy, packages=[PACKAGE])
        host = next(hosts)
        host.until(lambda document: _is_ready(document), "all of its programs")
        yield World(host, ports, secret)
        next(hosts, None)


def _is_ready(document: dict[str, Any]) -> bool:
    programs = next(one for one in document["loops"] if one["name"] == "third.keeper")["programs"]
    return all(one["running"] for one in programs)


def notices(world: World, name: str, last: bytes) -> list[bytes]:
    """Return what a program has said, once it has said this."""
    found: list[bytes] = []

    def is_there(_: object) -> bool:
        found[:] = world.host.client().call(KEEPER, "notices", name)
        return last in found

    world.host.until(is_there, f"{last!r} of {name}")
    return found


def test_a_real_broker_binds_takes_connections_and_says_that_it_is_ready(world: World) -> None:
    assert notices(world, "mqtt", b"READY=1") == [b"READY=1"]
    with socket.create_connection(("127.0.0.1", world.ports["mqtt"]), timeout=10) as client:
        client.sendall(bytes.fromhex("100c00044d5154540402003c0000"))  # CONNECT, clean session, no name
        assert client.recv(4) == bytes.fromhex("20020000"), "CONNACK, accepted"


def test_a_script_serves_reaches_what_is_listed_and_notifies_in_every_way(world: World) -> None:
    found = notices(world, "web", b"STATUS=send")
    assert found == [f"{word}={how}".encode() for word in ("READY", "STATUS") for how in ("sendto", "sendmsg", "send")]
    with socket.create_connection(("127.0.0.1", world.ports["web"]), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"hello from Python")


def test_a_static_binary_serves_from_its_children_which_get_no_more_than_it(world: World) -> None:
    assert world.greeting() == "hello bind=13 connect=13 turned=13"  # EACCES
    words = ("program_refused", "no egress rule lists it", "bind 127.0.0.1")
    world.host.told(*words, by=("events", "--kind", "program", "--json"))
    world.secret.setblocking(False)
    with pytest.raises(BlockingIOError):
        world.secret.accept()


def test_its_listener_outlives_its_runs(world: World) -> None:
    """A client that connects while nothing runs waits in the backlog, and the next run takes it."""
    (before,) = _pids(world)
    ended = os.pidfd_open(before)
    os.kill(before, signal.SIGKILL)
    select.select([ended], [], [], 10)
    os.close(ended)
    assert world.greeting().startswith("hello")
    assert before not in _pids(world)


def _pids(world: World) -> list[int]:
    programs = world.host.loop("third.keeper")["programs"]
    return [int(run["pid"]) for one in programs if one["name"].endswith("/static") for run in one["running"]]
