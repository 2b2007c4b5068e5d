"""A seeded random walk over a supervisor and real processes: whatever happens to whom, the supervisor stays, no loop is
there twice, nobody who asked is forgotten, and at the end everybody is back.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hosts.scripted_host import PATIENCE_S, ScriptedHost, Start, pids_of, starting

from tlsrt.errors import TlsrtError

LOOPS = dict.fromkeys(("secondary", "third", "forth", "fifth", "sixth"), "crash_if")
NAMES = ("primary", *LOOPS)
DEEDS = ["kill", "kill", "kill_two", "stop", "crash", "heal", "heal", "ask", "ask", "authority", "wait", "wait"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starting(tmp_path)


def supervision(chance: random.Random) -> str:
    groups = {
        "ui": {"loops": ["third", "forth"], "strategy": chance.choice(["rest_for_one", "one_for_all"])},
        "base": {"loops": ["secondary", "sixth"], "strategy": "rest_for_one"},
    }
    restart = {"first_s": 0.01, "cap_s": 0.3, "deaths": 4, "window_s": 3, "escalate": "degraded"}
    depends = {"fifth": ["forth"], "third": ["secondary"]}
    return json.dumps({"restart": restart, "groups": groups, "depends": depends})


class Walk:
    """One walk; its seed says everything but the order in which the kernel lets things happen."""

    def __init__(self, running: ScriptedHost, chance: random.Random) -> None:
        self.running = running
        self.chance = chance
        self.authority_until = 0.0
        self.asked: list[threading.Thread] = []
        self.supervisor = psutil.Process(running.process.pid)

    def step(self) -> None:
        deed, name = self.chance.choice(DEEDS), self.chance.choice(NAMES)
        pids = pids_of(self.running.status())
        if deed == "kill":
            send(pids[name], signal.SIGKILL)
        elif deed == "kill_two":
            for each in self.chance.sample(NAMES, 2):
                send(pids[each], signal.SIGKILL)
        elif deed == "stop" and self.chance.random() < 0.3:
            send(pids[name], signal.SIGSTOP)
        elif deed == "crash" and name != "primary":
            (self.running.folder / f"crash-{name}").touch()
        elif deed == "heal":
            self.heal()
        elif deed == "ask":
            self.asked.append(threading.Thread(target=self.ask, args=(name,)))
            self.asked[-1].start()
        elif deed == "authority" and time.monotonic() > self.authority_until:
            send(pids["authority"], signal.SIGKILL)
            self.authority_until = time.monotonic() + 1.5  # without it, too often is the end of any host
        time.sleep(self.chance.random() * 0.08)  # no event to wait for: this is what is random
        while self.running._read(time.monotonic()):  # or its pipe fills
            continue
        code = self.running.process.poll()
        assert code is None, f"the supervisor has ended, {code}: {self.running.lines[-40:]} {self.running._errors()}"
        assert len(self.supervisor.children()) <= len(NAMES) + 1, "somebody is there twice"

    def ask(self, name: str) -> None:
        with suppress(TlsrtError):  # busy
            self.running.ask("restart", loop=name)

    def heal(self) -> None:
        for path in self.running.folder.glob("crash-*"):
            path.unlink()

    def come_to_rest(self) -> None:
        self.heal()
        end = time.monotonic() + 60
        while True:
            states = {loop["name"]: loop["state"] for loop in self.running.status()["loops"]}
            if set(states.values()) == {"active"}:
                break
            assert time.monotonic() < end, f"{states}: {self.running.lines[-40:]}"
            for name in (name for name, state in states.items() if state == "failed"):
                self.ask(name)
        for thread in self.asked:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "somebody who asked was forgotten"


def send(pid: int | None, number: signal.Signals) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.mark.parametrize("steps", [60, pytest.param(2000, marks=[pytest.mark.stress, pytest.mark.timeout(900)])])
def test_whatever_happens_everybody_comes_back_once(start: Start, steps: int) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    running = start(**LOOPS, supervision=supervision(chance))
    running.wait("^ready")
    walk = Walk(running, chance)
    for _ in range(steps):
        walk.step()
    walk.come_to_rest()
    assert running.stop() == 0
