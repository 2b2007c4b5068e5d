"""Serial lines as an operator adds them, through TLS, in the full sandbox, on a device that goes and comes."""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.plugged_line import PTYS, Line
from hosts.running_host import RunningHost, running

from tlsrt import Busy, Client, DeadlineExceeded, Unavailable

SERIAL, PROCESS = "third/serial", "third.serial"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="devices are opened by root")


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-", dir="/dev"))
    line = Line(folder, "meter")
    line.plug()
    yield line
    line.unplug()
    folder.rmdir()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, line: Line) -> Iterator[RunningHost]:
    for host in running(request, prelude=PTYS, clients=["kiosk"]):
        device = f"devices=[{{name: meter, path: {line.path}, tty: {{baud: 9600}}, why: the meter}}]"
        words = ["--option", "lines={meter: {}}", "--needs", device, "--allow", "client/kiosk: [listen, send]"]
        words += ["--allow", 'client/admin: "*"']
        added = host.cli("component", "add", SERIAL, "--yes", *words)
        assert added.returncode == 0, added.stderr
        yield host


@pytest.fixture
def client(host: RunningHost, line: Line) -> Client:
    client = host.client()
    until(lambda: client.call(SERIAL, "list")[0]["is_present"], is_wanted=True)
    return client


def until(what: Any, *, is_wanted: bool) -> None:
    end = time.monotonic() + 20
    while what() != is_wanted:
        assert time.monotonic() < end, what()


def test_two_clients_hear_the_same_and_a_request_is_answered(host: RunningHost, client: Client, line: Line) -> None:
    with host.client("kiosk") as kiosk:
        both = [one.stream(SERIAL, "listen", "meter") for one in (client, kiosk)]
        assert [next(one) for one in both] == [{"is_present": True}] * 2
        os.write(line.master, b"power=1250\r\n")
        assert [next(one)["data"] for one in both] == ["power=1250"] * 2
    with answering(line, {b"volt?\n": b"volt=230\n"}):
        assert client.call(SERIAL, "request", "meter", "volt?", prefix="volt=", timeout_s=20) == "volt=230"
    with pytest.raises(DeadlineExceeded):
        client.call(SERIAL, "request", "meter", "volt?", timeout_s=0.05)
    assert os.read(line.master, 100) == b"volt?\n"


class answering:
    """A device that answers until the end of the block."""

    def __init__(self, line: Line, answers: dict[bytes, bytes]) -> None:
        self._line = line
        self._answers = answers
        self._count = 0
        self._thread = threading.Thread(target=self._answer)

    def _answer(self) -> None:
        while (asked := os.read(self._line.master, 100)) != b"end\n":
            os.write(self._line.master, self._answers[asked])

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        os.write(self._line.kept, b"end\n")  # as if the component had sent it
        self._thread.join()


def test_one_client_alone_until_its_connection_ends(host: RunningHost, client: Client, line: Line) -> None:
    with host.client("kiosk") as kiosk:
        held = client.stream(SERIAL, "hold", "meter")
        assert next(held) == {"line": "meter", "holder": "client/admin"}
        with pytest.raises(Busy, match="held by client/admin"):
            kiosk.call(SERIAL, "send", "meter", "x")
        client.close()
        other = host.client()
        until(lambda: other.call(SERIAL, "list")[0]["holder"] is None, is_wanted=True)
        kiosk.call(SERIAL, "send", "meter", "y")
        assert os.read(line.master, 100) == b"y\n"


def test_it_is_unplugged_and_comes_under_another_name(client: Client, line: Line) -> None:
    heard = client.stream(SERIAL, "listen", "meter")
    next(heard)
    before = os.ttyname(line.kept)
    line.unplug()
    assert next(heard) == {"is_present": False}
    assert client.call(SERIAL, "last", "meter") is None
    with pytest.raises(Unavailable):
        client.call(SERIAL, "send", "meter", "x")
    taken = os.openpty()  # its number is another one's now
    try:
        line.plug()
        assert os.ttyname(line.kept) != before
        assert next(heard) == {"is_present": True}
        os.write(line.master, b"again\n")
        assert next(heard)["data"] == "again"
    finally:
        os.close(taken[0])
        os.close(taken[1])


def test_figures_and_no_refused_call(host: RunningHost, client: Client, line: Line) -> None:
    figures = {}
    with answering(line, {b"?\n": b"!\n"}):
        for method, arguments in [("last", ["meter"]), ("request", ["meter", "?"])]:
            took = []
            for _ in range(200):
                began = time.perf_counter()
                client.call(SERIAL, method, *arguments)
                took.append(1000 * (time.perf_counter() - began))
            figures[method] = statistics.quantiles(took, n=100)
    for method, cuts in figures.items():
        print(f"{method}: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")
    [loop] = [loop for loop in host.status()["loops"] if loop["name"] == PROCESS]
    print(f"memory: {psutil.Process(loop['pid']).memory_full_info().uss / (1 << 20):.1f} MiB of its own")
    assert loop["violations"] == 0
