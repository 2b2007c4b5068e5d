"""What processes use: the parser of /proc, rates between two looks, the stream, and the picture of top."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.supervisor.cli.status import screen
from tlsrt.supervisor.control.server import ControlSocket
from tlsrt.supervisor.control.status_stream import StatusStream, interval_untrusted
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.proc import Sample, Usage, parse_sample, rates, sample_of
from tlsrt.supervisor.process.unix_path import short_path
from tlsrt.supervisor.supervision.feature import StreamVerb

STAT = "7 (a) b (evil)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 12345 1000 200"
STATUS = "Name:\tx\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n"
TICK = 1 / os.sysconf("SC_CLK_TCK")


def test_a_name_may_look_like_the_rest_of_the_line() -> None:
    assert parse_sample(STAT, STATUS, 1.0, 7, (3, 4)) == Sample(1.0, 7, 300, 3, 40, 2, 3, 4)


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_parses_or_raises_the_one_error(stat: str, status: str) -> None:
    try:
        assert parse_sample(stat, status, 0.0, 1, (0, 0)).pid == 1
    except ValueError:
        return


def test_rates_are_those_between_two_looks_at_one_process() -> None:
    before = Sample(10.0, 7, 100, 3, 40, 2, 1000, 500)
    now = Sample(12.0, 7, 150, 4, 60, 3, 3000, 400)
    assert rates(before, now) == {
        "cpu_percent": round(50 * TICK / 2 * 100, 1), "threads": 4, "woken_s": 10.0, "preempted_s": 0.5,
        "frames_in_s": 1000.0, "frames_out_s": 0.0,
    }  # fmt: skip
    for first, second in ((None, now), (before, None), (now, now), (before, Sample(12.0, 8, 150, 4, 60, 3))):
        assert rates(first, second) is None


def test_one_that_is_gone_has_no_usage() -> None:
    assert sample_of(2**22 + 1, 0.0) is None
    mine = sample_of(os.getpid(), 0.0)
    assert mine is not None and mine.threads >= 1


def test_usage_is_put_into_every_process() -> None:
    usage = Usage()
    pid = os.getpid()

    def document() -> dict[str, Any]:
        loop = {"name": "supervisor", "pid": pid, "frames": {"in": 1, "out": 2}}  # a loop may be called anything
        return {"supervisor": {"pid": pid}, "authority": {"pid": None}, "loops": [loop]}

    first, second = document(), document()
    usage.add_to(first, 1.0)
    usage.add_to(second, 2.0)
    assert (first["supervisor"]["usage"], first["loops"][0]["usage"]) == (None, None)
    assert second["supervisor"]["usage"]["threads"] >= 1
    assert second["loops"][0]["usage"]["frames_in_s"] == 0.0
    assert second["authority"]["usage"] is None


def test_a_screen_is_no_larger_than_the_terminal() -> None:
    text = screen(["x" * 300, *["line"] * 100], 80, 24)
    assert text.startswith("\x1b[H") and text.endswith("\x1b[J")
    assert text.count("\r\n") == 23
    assert "x" * 80 in text and "x" * 81 not in text
    assert screen(["abc"], 0, 0).count("\r\n") == 1


@pytest.mark.parametrize("value", [0, 0.1, -1, 4000, True, "1", None, [], float("nan"), float("inf")])
def test_an_interval_that_makes_no_sense_is_refused(value: object) -> None:
    with pytest.raises(PeerError, match="bad_interval"):
        interval_untrusted({"interval_s": value})


class Host:
    """A control socket with the verb, a clock, and a count of looks."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.folder = folder
        self.looks = 0
        self.padding = ""
        self.event_loop = EventLoop(lambda: self.now)
        verbs = {"follow_status": StreamVerb(StatusStream(self.event_loop, self.status).serve)}
        self.control = ControlSocket(self.event_loop, folder, verbs)

    def status(self) -> dict[str, Any]:
        self.looks += 1
        nobody = {"pid": os.getpid()}
        return {"number": self.looks, "supervisor": nobody, "authority": {"pid": None}, "loops": [], "x": self.padding}

    def later(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(5):
            self.event_loop.call_later(0, lambda: None)
            self.event_loop.run_once()

    def follow(self, **wish: object) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_path(self.folder, "control.sock") as path:
            client.connect(path)
        client.sendall(json.dumps({"verb": "follow_status", **wish}).encode() + b"\n")
        client.setblocking(False)
        self.later(0)
        return client


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.control.close()
    made.event_loop.close()


def test_nothing_is_looked_at_when_nobody_follows(host: Host) -> None:
    host.later(100)
    assert host.looks == 0
    assert not host.event_loop._timers
    client = host.follow(interval_s=2.0)
    for _ in range(5):
        host.later(2.0)
    assert host.looks == 6
    client.close()
    host.later(0)
    host.later(100)
    assert host.looks == 6


def test_whoever_does_not_read_costs_no_looks_and_gets_nothing_old(host: Host) -> None:
    host.padding = "x" * 200_000
    client = host.follow(interval_s=0.5)
    for _ in range(20):
        host.later(0.5)
    assert host.looks < 5
    host.padding = ""
    received = bytearray()
    for _ in range(30):
        host.later(0.5)
        try:
            received += client.recv(1 << 20)
        except BlockingIOError:
            continue
    documents = [json.loads(line) for line in received.splitlines()]
    assert [document["dropped"] for document in documents if "dropped" in document][0] >= 15  # noqa: RUF015
    numbers = [document["number"] for document in documents if "number" in document]
    assert numbers == list(range(1, len(numbers) + 1))
    client.close()


def test_a_wrong_interval_ends_the_stream(host: Host) -> None:
    client = host.follow(interval_s=0)
    host.later(0)
    assert json.loads(client.recv(1000)) == {"error": "bad_interval"}
    assert client.recv(10) == b""
    assert host.looks == 0
    client.close()
