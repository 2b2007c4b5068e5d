"""Attacked sentences: a client that connects for metrics reaches nothing, keeps no other out, and stops no call."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, free_port, running
from probes.process_memory import found_in

PORT = free_port()
ASK = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
FLOOD = 3000
# What code in the metrics process tries, after its seal, when a certain path is asked for.
PRELUDE = """
import json, os, socket
import tlsrt.supervisor.metrics.main as metrics
_requested = metrics.Metrics._requested

def _errno(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0

def _captured(self, connection):
    path = connection.request.path
    if path == "/tries":
        paths = ("/etc/passwd", "/proc/1/mem", "/run", "/state", "/tmp", "/etc/hosts")
        tried = {path: _errno(lambda: os.close(os.open(path, os.O_RDONLY))) for path in paths}
        self._send(connection, "200 OK", json.dumps(tried))
    elif path == "/reaches":
        socket.socket(socket.AF_INET)
    elif path == "/listens":
        self._connections._listener.listen(1)
    elif path == "/hurries":
        self._supervisor.send("ask", 1000)
        self._supervisor.send("ask", 1001)
    else:
        _requested(self, connection)

metrics.Metrics._requested = _captured

# What a captured process of a loop writes into its page.
import tlsrt.loops.runtime.process_figures as process_figures
_encoded = process_figures.ProcessFigures.encoded
_FORGED = {
    "tlsrt_calls": [[["io", label, "error"], 7] for label in (
        'x",outcome="result"} 1 # \\\\', 'x\\ntlsrt_locked 1\\n#', "\\0", "\\ud800", "\\udfff"
    )],
    "tlsrt_locked": [[[], 1]], "tlsrt_process_active": [[["primary"], 0]], "tlsrt_gate_frames": [[["passed"], 1]],
    "tlsrt_calls{}": [[[], 1]],
}

def _forged(self):
    if "third/io" in self._hosts:
        return json.dumps(_FORGED).encode()
    if "forth/power" in self._hosts:
        os.pwrite(self._page, os.urandom(4096), 0)
        return b"[" * 100_000
    return _encoded(self)

process_figures.ProcessFigures.encoded = _forged
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    for host in running(request, extra={"metrics": {"listen": f"127.0.0.1:{PORT}"}}, prelude=LatePrelude(PRELUDE)):
        host.until(is_served, "the metrics process")
        yield host


def is_served(status: dict[str, object]) -> bool:
    served = status["metrics"]
    return isinstance(served, dict) and served["state"] == "active"


def connect() -> socket.socket:
    return socket.create_connection(("127.0.0.1", PORT), timeout=30)


def heard(peer: socket.socket) -> bytes:
    """Return what is sent until the connection ends."""
    data = b""
    with suppress(ConnectionError):
        while piece := peer.recv(65536):
            data += piece
    return data


def get(path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (ASK * 3, b"200"),
        (ASK.replace(b"localhost", b"evil.example"), b"421"),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n" + ASK, b"405"),
        (b"GET / HTTP/1.1\r\nContent-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ASK, b"413"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 44\nX: a\r\n\r\n" + ASK, b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", b"431"),
        (b"\x16\x03\x01\x02\x00" * 2000, b"431"),
    ],
    ids=["pipelined", "rebound", "body", "smuggled", "bare line feed", "huge", "TLS"],
)  # fmt: skip
def test_one_request_has_one_answer(host: RunningHost, said: bytes, status: bytes) -> None:
    with connect() as peer:
        with suppress(ConnectionError):
            peer.sendall(said)
        data = heard(peer)
    assert data.count(b"HTTP/1.1 ") == 1 and data.split()[1] == status


def test_neither_silent_nor_slow_readers_nor_a_flood_keep_anyone_out(host: RunningHost) -> None:
    before = host.status()["metrics"]
    crowd = [connect() for _ in range(200)]
    for number, peer in enumerate(crowd):
        with suppress(OSError):
            peer.sendall(ASK if number % 2 else b"GET /met")
    is_over = threading.Event()

    def flood() -> None:
        for _ in range(FLOOD):
            with suppress(OSError), connect() as peer:
                peer.sendall(b"G")
        is_over.set()

    thread = threading.Thread(target=flood)
    thread.start()
    served = 0
    try:
        while not is_over.is_set() or served < 5:
            with suppress(OSError):  # one that is late with its request may lose its place, and comes again
                served += get("/metrics")[0] == 200
            with host.client() as client:
                client.call("primary/kernel", "describe")
    finally:
        thread.join()
        for peer in crowd:
            peer.close()
    after = host.status()["metrics"]
    assert served and (after["pid"], after["restarts"]) == (before["pid"], before["restarts"])
    assert len(os.listdir(f"/proc/{after['pid']}/fd")) < 100


def test_code_in_the_process_reaches_nothing(host: RunningHost) -> None:
    status, text = get("/tries")
    assert status == 200 and 0 not in json.loads(text).values(), text
    folder = Path(f"/proc/{host.status()['metrics']['pid']}")
    lines = (folder / "status").read_text().splitlines()
    assert [int(line.split()[1], 16) for line in lines if line.startswith("Cap")] == [0] * 5
    uids = next(line.split()[1:] for line in lines if line.startswith("Uid:"))
    others = {os.stat(f"/proc/{loop['pid']}").st_uid for loop in host.status()["loops"]}
    assert len(set(uids)) == 1 and (os.geteuid() != 0 or int(uids[0]) not in {0, *others})
    keys = {"master key": (host.folder / "master.key").read_bytes(), "CA key": (host.folder / "ca.key").read_bytes()}
    assert found_in(host.status()["metrics"]["pid"], keys) == set()


def test_a_captured_process_says_nothing_of_others_and_hides_none(host: RunningHost) -> None:
    def forged() -> list[str]:
        return [line for line in get("/metrics")[1].splitlines() if 'outcome="error"' in line and line.endswith(" 7")]

    host.until(lambda status: bool(forged()), "what the process has written")
    [line] = forged()
    assert line.startswith('tlsrt_calls_total{process="third",component="io",method="x\\",outcome=')
    text = get("/metrics")[1]
    assert "\ntlsrt_locked 0\n" in text and "\ntlsrt_locked 1\n" not in text
    assert text.count('tlsrt_process_active{process="primary"} 1\n') == 1
    assert 'tlsrt_calls_total{process="primary.facts"' in text
    for process in ("third", "forth"):
        assert f'\ntlsrt_metrics_refused_figures_total{{process="{process}"}} 0\n' not in text


@pytest.mark.parametrize(
    ("path", "word"), [("/reaches", "violation"), ("/listens", "violation"), ("/hurries", "hurried")]
)
def test_a_captured_one_that_wants_more_is_killed_and_another_serves(host: RunningHost, path: str, word: str) -> None:
    before = host.status()["metrics"]["restarts"]
    with suppress(OSError, http.client.HTTPException):
        get(path)
    host.until(lambda status: status["metrics"]["restarts"] > before and is_served(status), "the next one")
    assert word in host.status()["metrics"]["last_death"]["sentence"]
    assert get("/livez") == (200, "ok\n")
