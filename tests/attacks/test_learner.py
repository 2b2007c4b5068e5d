"""Attacked sentence: a captured learner reaches nothing, knows no name, and whatever it does no client loses a call."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running
from probes.process_memory import found_in

from tlsrt.supervisor.control.client import ControlClient

STORE = "secondary/store"
# Windows are short here. What code in the learner does, in one life after the other, and why it is killed.
LIVES = (
    ("nan", "bad_advice"),
    ("other number", "unasked"),
    ("other row", "bad_advice"),
    ("words", "bad_advice"),
    ("too much", "truncated"),
    ("flood", "unasked"),
    ("silent", "does not answer"),
    ("reaches", "violation"),
    ("dies", "exit"),
)
PRELUDE = f"""
import json, os, select, socket
import tlsrt.channels.control.telemetry as telemetry
telemetry.WINDOW_MS, telemetry.LOOKS = 500, 1
import msgpack
import tlsrt.supervisor.learner.main as learner
import tlsrt.supervisor.supervision.learner_process as supervised
from tlsrt.channels.control.learner import AdviceMessage
supervised.LATE_S = 1.0
_weigh = supervised.LearnerProcess._weigh
supervised.LearnerProcess._weigh = lambda self, message: _weigh(self, message._replace(now=self.restarts))
LIVES = {[name for name, _ in LIVES]!r}
channels = []

class Channel(learner.ControlChannel):
    def __init__(self, *fields):
        super().__init__(*fields)
        channels.append(self)

def _errno(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0

def _raw(*fields):
    channels[0]._socket.setblocking(True)
    channels[0]._socket.send(msgpack.packb([17, *fields]))

def _captured(model, message):
    number, rows = message.number, len(message.rows)
    life = LIVES[message.now] if message.now < len(LIVES) else "lies"
    if life == "nan":
        _raw(number, 1, [[0, float("nan"), []]])
    if life == "other number":
        return AdviceMessage(number + 1, 0, [])
    if life == "other row":
        return AdviceMessage(number, rows, [[rows, 90_000, []]])
    if life == "words":
        return AdviceMessage(number, rows, [[0, 90_000, [["all is well", 0, 0]]]])
    if life == "too much":
        _raw(number, rows, [[0, 90_000, []]] * 20_000)
    if life == "flood":
        for _ in range(100_000):
            _raw(number, 0, [])
    if life == "silent":
        select.poll().poll()
    if life == "reaches":
        socket.socket(socket.AF_INET)
    if life == "dies":
        os._exit(1)
    if not os.environ.get("TRIED"):
        os.environ["TRIED"] = "1"
        paths = ("/etc/passwd", "/proc/1/mem", "/run", "/state", "/tmp", "/proc/self/mem")
        tried = {{path: _errno(lambda: os.close(os.open(path, os.O_RDONLY))) for path in paths}}
        os.write(2, ("TRIED " + json.dumps(tried) + chr(10) + "TOLD " + repr(message) + chr(10)).encode())
    return AdviceMessage(number, rows, [[0, 90_000, [[2, 1 << 40, 0]]]])

learner.ControlChannel = Channel
learner.weighed = _captured
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    quick = {"supervision": {"restart": {"first_s": 0.001, "cap_s": 0.01}}}
    yield from running(request, policy={f"client/admin -> {STORE}": "*"}, prelude=PRELUDE, extra=quick)


def events(host: RunningHost) -> list[dict[str, Any]]:
    with ControlClient(host.config.run_dir) as client:
        return [event for event in client.follow("events", follow=False, since=0) if "seq" in event]


def test_whatever_a_captured_learner_does_costs_nobody_anything(host: RunningHost) -> None:
    stop, calls, failed = threading.Event(), [0], list[Exception]()

    def work() -> None:
        client = host.client()
        while not stop.wait(0.05):
            try:
                client.call(STORE, "put", "key", calls[0])
                calls[0] += 1
            except Exception as error:
                failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        host.until(lambda status: (status["learner"] or {}).get("restarts", 0) >= len(LIVES), "its last life",
                   timeout_s=60)  # fmt: skip
        ends = [
            event["sentence"] for event in events(host) if event["subject"] == "learner" and event["name"] == "died"
        ]
        for end, (life, word) in zip(ends, LIVES, strict=True):
            assert word in end, (life, ends)
        told = [event for event in events(host) if event["name"] in ("unusual", "response", "detected")]
        assert not [event for event in told if event["subject"].startswith("client/")], told
        # The last one lies: that all which the client does is unusual, as much as can be said.
        host.until(lambda status: any(event["name"] == "unusual" for event in events(host)), "a lie")
        before = calls[0]
        host.until(lambda status: calls[0] > before + 60, "calls go on", timeout_s=30)
    finally:
        stop.set()
        worker.join()
    assert not failed
    steps = {event["fields"]["step"] for event in events(host) if event["name"] == "response"}
    assert steps <= {"limit"}
    assert not host.status()["lock"]


def test_code_in_the_learner_reaches_nothing_and_hears_of_no_name(host: RunningHost) -> None:
    host.until(lambda status: "TOLD" in host.log("learner"), "what it tried")
    lines = host.log("learner").splitlines()
    tried = json.loads(next(line for line in lines if "TRIED " in line).partition("TRIED ")[2])
    assert 0 not in tried.values(), tried
    told = next(line for line in lines if "TOLD " in line)
    assert not any(name in told for name in ("client/", "admin", "secondary", "store"))
    status = host.status()
    pid = status["learner"]["pid"]
    text = Path(f"/proc/{pid}/status").read_text()
    assert [int(line.split()[1], 16) for line in text.splitlines() if line.startswith("Cap")] == [0] * 5
    uids = next(line.split()[1:] for line in text.splitlines() if line.startswith("Uid:"))
    others = {os.stat(f"/proc/{loop['pid']}").st_uid for loop in status["loops"]}
    assert len(set(uids)) == 1 and (os.geteuid() != 0 or int(uids[0]) not in {0, *others})
    keys = {"master key": (host.folder / "master.key").read_bytes(), "CA key": (host.folder / "ca.key").read_bytes()}
    assert found_in(pid, keys) == set()
