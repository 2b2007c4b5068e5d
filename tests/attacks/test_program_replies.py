"""Attacked sentence: a captured program answers who has written to its listener with `replies`, and no one else.

The program is a Python that runs what it is told over its descriptor 3, with a UDP listener and an egress rule.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, free_port, running

PACKAGE = Path(__file__).parent.parent / "hosts" / "kept_package" / "kept"
CAPTURED = "third/captured"
WHY = "a test keeps it running"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
OBEY = """
import json, os, socket, sys
def tried(act, *arguments):
    try:
        return act(*arguments)
    except OSError as error:
        return type(error).__name__
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind(('127.0.0.1', int(sys.argv[1])))
mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mute.bind(('127.0.0.1', int(sys.argv[2])))
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
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or "cgroup2" not in Path("/proc/self/mounts").read_text(),
    reason="programs are attached to control groups by root",
)


@dataclass(frozen=True, slots=True)
class World:
    """A host with the captured program, and a stranger who has not written to it."""

    host: RunningHost
    port: int
    mute: int
    known: socket.socket
    stranger: socket.socket

    def run(self, script: str) -> Any:
        """Have the captured program run a script that leaves its result in `found`."""
        known, stranger = self.known.getsockname(), self.stranger.getsockname()
        text = f"KNOWN, STRANGER = {known!r}, {stranger!r}\n{script}"
        return json.loads(self.host.client().call(CAPTURED, "say", "main", json.dumps(text)))

    def ask(self) -> None:
        """Write to the program as `known`, and have it read that."""
        self.known.sendto(b"ping", ("127.0.0.1", self.port))
        assert self.run("found = own.recvfrom(64)[0].decode()") == "ping"

    def stranger_heard_nothing(self) -> bool:
        try:
            self.stranger.recv(64)
        except BlockingIOError:
            return True
        return False


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    port, mute = free_port(), free_port()
    door = {"name": "own", "port": port, "protocol": "udp", "why": WHY}
    main: dict[str, Any] = {
        "run": PYTHON, "args": ["-c {script:/(?s:.*)/} {port:1-65535} {port:1-65535}"], "why": WHY, "life": "kept",
        "talks": True, "read": [sysconfig.get_path("stdlib")], "memory_mb": 512,
        "environment": {"PYTHONHOME": sys.base_prefix, "PYTHONDONTWRITEBYTECODE": "1"},
        "listen": [door | {"replies": True, "replies_per_s": 512}, door | {"name": "mute", "port": mute}],
        "egress": [{"to": ["192.0.2.7:53/udp"], "why": WHY}],
    }  # fmt: skip
    component = {
        "class": "kept.keeper:Keeper", "programs": {"main": main},
        "options": {"keep": [["main", "-c", OBEY, str(port), str(mute)]]},
    }  # fmt: skip
    with peer() as known, peer() as stranger:
        stranger.setblocking(False)
        hosts = running(
            request, components={CAPTURED: component}, policy={f"client/admin -> {CAPTURED}": "*"}, packages=[PACKAGE],
            extra={"detection": {"mode": "observe"}},
        )  # fmt: skip
        host = next(hosts)
        host.until(_runs, "its run")
        yield World(host, port, mute, known, stranger)
        next(hosts, None)


def _runs(document: dict[str, Any]) -> bool:
    (program,) = next(one for one in document["loops"] if one["name"] == "third.captured")["programs"]
    return bool(program["running"])


def peer() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(10)
    return made


def test_who_has_written_is_answered_by_each_call_that_names_an_address(world: World) -> None:
    world.ask()
    assert world.run("found = own.sendto(b'by sendto', KNOWN)") == 9
    assert world.run("found = own.sendmsg([b'by ', b'sendmsg'], [], 0, KNOWN)") == 10
    assert [world.known.recv(64), world.known.recv(64)] == [b"by sendto", b"by sendmsg"]
    child = """
pid = os.fork()
if pid == 0:
    own.sendto(b'by a child', KNOWN)
    os._exit(0)
found = os.waitpid(pid, 0)[1]"""
    assert world.run(child) == 0
    assert world.known.recv(64) == b"by a child"
    assert world.run("found = own.sendto(bytes(60000), KNOWN)") == 60000
    assert world.known.recv(65536) == bytes(60000)


def test_it_answers_as_often_as_its_listener_says(world: World) -> None:
    """As many as in two seconds at once; by the default of 128 a second it would take 6 s."""
    world.ask()
    assert (
        world.run("""
import time
begun = time.monotonic()
for _ in range(1000):
    own.sendto(b'', KNOWN)
found = time.monotonic() - begun""")
        < 4
    )
    world.known.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            world.known.recv(64)
    world.known.settimeout(10)


def test_nobody_else_is(world: World) -> None:
    world.ask()
    for act in (
        "own.sendto, b'x', STRANGER",
        "own.sendmsg, [b'x'], [], 0, STRANGER",
        "own.sendto, b'x', (KNOWN[0], KNOWN[1] ^ 1)",
        "own.sendto, b'x', ('127.255.255.255', KNOWN[1])",
        "own.connect, STRANGER",
    ):
        assert world.run(f"found = tried({act})") == "PermissionError", act
    assert world.stranger_heard_nothing()


def test_no_other_socket_of_it_sends_to_an_address(world: World) -> None:
    world.ask()
    make = "one = socket.socket(socket.AF_INET, socket.{})\nfound = tried({}, b'x', 0x{:x}, {})"
    for kind in ("SOCK_DGRAM", "SOCK_STREAM"):
        for whom in ("KNOWN", "STRANGER"):
            assert world.run(make.format(kind, "one.sendto", socket.MSG_FASTOPEN, whom)) == "PermissionError"
            assert world.run(make.format(kind, "one.sendto", 0, whom)) == "PermissionError"
    assert world.run("found = tried(mute.sendto, b'x', KNOWN)") == "PermissionError"
    pair = "one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\nfound = tried(one.sendto, b'x', '/run/x')"
    assert world.run(pair) == "PermissionError"
    assert world.stranger_heard_nothing()


def test_what_was_heard_by_another_listener_of_it_does_not_count(world: World) -> None:
    with peer() as other:
        other.sendto(b"ping", ("127.0.0.1", world.mute))
        place = other.getsockname()
        found = world.run(f"mute.recvfrom(64)\nfound = tried(own.sendto, b'x', {place!r})")
        assert found == "PermissionError"
        moved = f"os.dup2(own.fileno(), mute.fileno())\nfound = tried(mute.sendto, b'x', {place!r})"
        assert world.run(moved) == "PermissionError"


def test_it_is_told_where_an_operator_looks(world: World) -> None:
    shown = " ".join(world.host.cli("sandbox", "show", "third.captured/main").stdout.split())
    assert f"{world.port}/udp, and may send from there to who has sent something to it within 5 minutes" in shown
