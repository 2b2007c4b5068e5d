"""Attacked sentence: a captured Python side of a program takes none of the connections that its program is to have.

It has inherited the program's listener, to see how many connections wait there, and has keys and a channel: a
connection that it took would be a second door into the host. Its code is replaced in the process that looks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, free_port, running

CAPTURED, PROCESS = "external/captured", "external.captured"
TAKES = """
import socket
from tlsrt.loops.program import component
async def probe(host, port, listener):
    client = socket.create_connection((host, port))
    try:
        listener.accept()
    except PermissionError:
        return 'PermissionError'
    return 'TAKEN'
component.probe_tcp = probe
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    port = free_port()
    captured = {
        "kind": "program", "run": "/bin/sleep", "args": ["infinity"], "health": {"tcp": port},
        "needs": {"listen": [{"name": "own", "port": port, "why": "a test connects there"}]},
    }  # fmt: skip
    yield from running(request, components={CAPTURED: captured}, prelude=LatePrelude(TAKES))


def test_what_it_tries_with_the_listener_of_its_program_is_refused_and_told(host: RunningHost) -> None:
    assert host.wait_for(rf"{PROCESS} +refused +accept4\(")
    host.until(lambda _: host.loop(PROCESS)["violations"] > 0, "a violation of the captured process")
    host.until(lambda _: "TAKEN" in tried(host) or "PermissionError" in tried(host), "what came of it")
    assert "TAKEN" not in tried(host)


def tried(host: RunningHost) -> str:
    return host.log(PROCESS)
