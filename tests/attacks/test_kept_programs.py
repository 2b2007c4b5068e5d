"""Attacked sentence: a captured program that stays reaches nothing by its sockets that it was not granted.

The program is a Python that runs what it is told over its descriptor 3, with a listener, an egress rule and
NOTIFY_SOCKET. It has a neighbour on loopback, which no rule lists, and another component, which must not notice.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.running_host import RunningHost, free_port, running

PACKAGE = Path(__file__).parent.parent / "hosts" / "kept_package" / "kept"
CAPTURED, VICTIM = "third/captured", "third/victim"
WHY = "a test keeps it running"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
OBEY = """
import json, os, socket, struct, sys, threading, time
def tried(act):
    try:
        return str(act())
    except OSError as error:
        return type(error).__name__ + ' ' + str(error.errno)
own = socket.socket()
own.bind(('127.0.0.1', int(sys.argv[1])))
own.listen()
for line in socket.socket(fileno=3).makefile():
    known = dict(globals())
    try:
        exec(json.loads(line), known)
        found = known.get('found')
    except BaseException as error:
        found = repr(error)
    with socket.socket(fileno=os.dup(3)) as talk:
        talk.sendall(json.dumps(found).encode() + b'\\n')
"""


@dataclass(frozen=True, slots=True)
class World:
    """A host with the captured program, its port, and a neighbour's."""

    host: RunningHost
    port: int
    neighbour: socket.socket

    def run(self, script: str) -> Any:
        """Have the captured program run a script that leaves its result in `found`."""
        hidden = self.neighbour.getsockname()[1]
        text = f"PORT, HIDDEN = {self.port}, {hidden}\n{script}"
        return json.loads(self.host.client().call(CAPTURED, "say", "main", json.dumps(text)))

    def pid(self) -> int:
        found: list[int] = []

        def is_there(document: dict[str, Any]) -> bool:
            (program,) = next(one for one in document["loops"] if one["name"] == "third.captured")["programs"]
            found[:] = [run["pid"] for run in program["running"]]
            return bool(found)

        self.host.until(is_there, "a run of the captured program")
        return found[0]

    def another(self) -> None:
        """End this run, and wait for the next one."""
        before = self.pid()
        os.kill(before, signal.SIGKILL)
        self.host.until(lambda _: self.pid() != before, "the next run")

    def nobody_came(self) -> bool:
        try:
            self.neighbour.accept()
        except BlockingIOError:
            return True
        return False


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as neighbour:
        neighbour.setblocking(False)
        main: dict[str, Any] = {
            "run": PYTHON, "args": ["-c {script:/(?s:.*)/} {port:1-65535}"], "why": WHY, "life": "kept", "talks": True,
            "notifies": True, "read": [sysconfig.get_path("stdlib")], "memory_mb": 512,
            "environment": {"PYTHONHOME": sys.base_prefix, "PYTHONDONTWRITEBYTECODE": "1"},
            "listen": [{"name": "own", "port": port, "why": WHY}],
            "egress": [{"to": ["192.0.2.7:443"], "why": WHY}], "state_mb": 2, "secrets": {"broker": WHY},
        }  # fmt: skip
        cat = {"run": "/bin/cat", "why": WHY, "life": "kept"}
        components: dict[str, Any] = {
            CAPTURED: {
                "class": "kept.keeper:Keeper", "programs": {"main": main},
                "needs": {"secrets": [{"name": "broker", "why": WHY, "optional": True}]},
                "options": {"keep": [["main", "-c", OBEY, str(port)]], "hears": ["main"]},
            },
            VICTIM: {"class": "kept.keeper:Keeper", "programs": {"cat": cat}, "options": {"keep": []}},
        }  # fmt: skip
        policy = {f"client/admin -> {address}": "*" for address in components}
        extra = {"detection": {"mode": "observe"}}
        hosts = running(request, components=components, policy=policy, packages=[PACKAGE], extra=extra)
        host = next(hosts)
        made = World(host, port, neighbour)
        made.pid()
        yield made
        next(hosts, None)


@pytest.mark.parametrize(
    ("script", "answers"),
    [
        ("found = tried(lambda: socket.socket().bind(('127.0.0.1', HIDDEN + 1)))", "PermissionError 13"),
        ("found = tried(lambda: socket.socket().bind(('0.0.0.0', PORT)))", "PermissionError 13"),
        (
            "found = tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(('127.0.0.1', PORT)))",
            "PermissionError 13",
        ),
        ("found = tried(lambda: socket.socket().listen())", "PermissionError 13"),
        ("found = tried(lambda: socket.socket().connect(('127.0.0.1', HIDDEN)))", "PermissionError 13"),
        ("found = tried(lambda: socket.socket().connect(('192.0.2.7', 444)))", "PermissionError 13"),
        ("found = tried(lambda: own.connect(('127.0.0.1', HIDDEN)))", "PermissionError 13"),
        ("found = tried(lambda: socket.socket(socket.AF_UNIX))", "PermissionError 1"),
        ("found = tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))", "PermissionError 1"),
        ("found = tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))", "PermissionError 1"),
        (
            "found = tried(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', '/run/other'))",
            "PermissionError 13",
        ),
        (
            "found = tried(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect('\\0other'))",
            "ConnectionRefusedError 111",
        ),
        (
            "one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "found = tried(lambda: one.sendto(b'x', ('127.0.0.1', HIDDEN)))",
            "PermissionError 13",
        ),
        (
            "one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "found = tried(lambda: one.sendmsg([b'x'], [], 0, ('127.0.0.1', HIDDEN)))",
            "PermissionError 13",
        ),
        (
            "one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
            "rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('i', own.fileno()))]\n"
            "found = tried(lambda: one.sendmsg([b'RIGHTS=1'], rights, 0, os.environ['NOTIFY_SOCKET']))",
            "8",  # what it says arrives, and its descriptor does not
        ),
        (
            "found = tried(lambda: open('/state/big', 'wb').write(bytes(3 << 20)))\nos.remove('/state/big')",
            "OSError 27",
        ),
        ("found = tried(lambda: open('/state/../etc/x', 'wb'))", "OSError 30"),
        (
            "import mmap\n"
            "open('/state/code', 'wb').write(bytes(4096))\n"
            "code = os.open('/state/code', os.O_RDONLY)\n"
            "how = mmap.PROT_READ | mmap.PROT_EXEC\n"
            "found = tried(lambda: mmap.mmap(code, 4096, flags=mmap.MAP_PRIVATE, prot=how))",
            "PermissionError 1",
        ),
        ("found = tried(lambda: open(sys.executable, 'r+b'))", "PermissionError 13"),
    ],
)
def test_what_it_tries_in_vain(world: World, script: str, answers: str) -> None:
    assert world.run(script) == answers
    assert world.nobody_came()


def test_a_secret_is_in_its_file_and_nowhere_else(world: World) -> None:
    look = "found = [tried(lambda: open('/secrets/broker').read()), tried(lambda: open('/secrets/broker', 'wb'))]"
    assert world.run(look) == ["", "PermissionError 13"], "an optional one that is not set is empty"
    before, value = world.pid(), b"swordfish-2741"
    done = subprocess.run(
        world.host.command("secret", "set", CAPTURED, "broker"), input=value, capture_output=True, timeout=60,
        cwd=world.host.base, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    world.host.until(lambda _: world.pid() != before, "the run with the secret")
    assert world.run(look) == [value.decode(), "PermissionError 13"]
    again = "os.chmod('/secrets/broker', 0o600)\nfound = tried(lambda: open('/secrets/broker', 'wb'))"
    assert world.run(again) == "PermissionError 13"
    assert world.run("found = dict(os.environ)").get("broker") is None
    for path in (path for path in world.host.base.rglob("*") if path.is_file() and not path.is_symlink()):
        assert value not in path.read_bytes(), path


def test_its_state_lives_on_and_is_its_alone(world: World) -> None:
    world.run("open('/state/kept', 'w').write('as it was')")
    world.another()
    assert world.run("found = [os.getcwd(), open('/state/kept').read()]") == ["/state", "as it was"]
    folder = world.host.folder / "state" / "third.captured+main+1"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert world.host.client().call(VICTIM, "can_see", str(folder)) is False


def test_with_an_accepted_connection_it_reaches_no_neighbour(world: World) -> None:
    """connect(2) of AF_UNSPEC ends a connection; then the same socket is tried on a neighbour."""
    script = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def connect(one, address):\n"
        "    return 0 if libc.connect(one.fileno(), address, len(address)) == 0 else ctypes.get_errno()\n"
        "client, _ = own.accept()\n"
        "hidden = struct.pack('=H', socket.AF_INET) + struct.pack('!H4s', HIDDEN, bytes([127, 0, 0, 1])) + bytes(8)\n"
        "found = [connect(one, where) for one in (client, own) for where in (bytes(16), hidden)]\n"
    )
    with socket.create_connection(("127.0.0.1", world.port), timeout=10):
        found = world.run(script)
    assert found[1] == found[3] == 13, found
    assert world.nobody_came()
    world.another()
    with socket.create_connection(("127.0.0.1", world.port), timeout=10):
        assert world.run("client, _ = own.accept()\nfound = 'taken'") == "taken", "its listener is as new"


def test_what_nobody_reads_of_descriptor_3_makes_the_program_wait(world: World) -> None:
    flood = (
        "def flood():\n"
        "    sent = 0\n"
        "    with socket.socket(fileno=os.dup(3)) as talk:\n"
        "        talk.settimeout(0.5)\n"
        "        try:\n"
        "            while sent < 1 << 26:\n"
        "                sent += talk.send(b'z' * 65536)\n"
        "        except OSError:\n"
        "            pass\n"
        "    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:\n"
        "        one.sendto(b'SENT=%d' % sent, os.environ['NOTIFY_SOCKET'])\n"
        "threading.Timer(0.1, flood).start()"
    )
    world.run(flood)
    client = world.host.client()
    said: list[bytes] = []

    def is_told(_: object) -> bool:
        said[:] = [one for one in client.call(CAPTURED, "notices", "main") if one.startswith(b"SENT=")]
        return bool(said)

    world.host.until(is_told, "the end of the flood")
    assert 0 < int(said[0][5:]) < 1 << 22, said
    world.another()


def test_a_flood_of_notices_hurts_nobody(world: World) -> None:
    script = (
        "one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "path = os.environ['NOTIFY_SOCKET']\n"
        "one.connect(path)\n"
        "found = {'full': 0, 'sent': 0}\n"
        "end = time.monotonic() + 1.0\n"
        "while time.monotonic() < end:\n"
        "    for way in (lambda: one.sendto(b'x' * 4096, path), lambda: one.send(b'y' * 4096)):\n"
        "        found['sent' if tried(way) == '4096' else 'full'] += 1\n"
    )
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(world.run(script)))
    thread.start()
    client, took = world.host.client(), list[float]()
    while thread.is_alive():
        start = time.monotonic()
        assert client.call(VICTIM, "notices", "cat") == []
        took.append(time.monotonic() - start)
    assert statistics.median(took) < 0.5 and max(took) < 10.0, (
        f"calls to another component took up to {max(took):.2f} s"
    )
    assert answers[0]["full"] > 0 and answers[0]["sent"] < 200, answers


def test_it_does_not_outlive_its_component(world: World) -> None:
    script = (
        "import signal\n"
        "for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):\n"
        "    signal.signal(each, signal.SIG_IGN)\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    os.setsid()\n"
        "    time.sleep(600)\n"
        "found = pid\n"
    )
    world.run(script)
    before, own = world.pid(), world.host.pids()["third.captured"]
    tree = [before, *(child.pid for child in psutil.Process(before).children(recursive=True))]
    assert len(tree) == 2
    os.kill(own, signal.SIGKILL)
    world.host.until(lambda _: world.host.pids().get("third.captured") not in (None, own), "another component")
    assert world.pid() not in tree
    assert not [one for one in tree if psutil.pid_exists(one)]
