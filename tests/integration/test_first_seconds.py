"""A host is served by its operator from the line `ready` on, whatever it still does for itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.control.client import ControlClient

CLIENTS = ["early", "middle", "late"]
# The supervisor writes down each step: in which turn of its loop, and how many modules came
PRELUDE = """
import json, sys
from pathlib import Path
from tlsrt.supervisor.process.preload import Preload
from tlsrt.supervisor.process.event_loop import EventLoop

turn, rows, is_told = [0], [], []
run, step = EventLoop.run_once, Preload.step

def counted(self):
    turn[0] += 1
    run(self)

def noted(self):
    before = len(sys.modules)
    has_more = step(self)
    if has_more:
        rows.append((turn[0], len(sys.modules) - before))
    elif not is_told:
        config = Path(sys.argv[sys.argv.index("--config") + 1])
        is_told.append(config.with_name("steps").write_text(json.dumps(rows)))
    return has_more

EventLoop.run_once, Preload.step = counted, noted
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    policy = {"client/* -> primary/kernel": ["uname"]}
    yield from running(request, clients=CLIENTS, policy=policy, prelude=PRELUDE)


def test_who_is_revoked_in_the_first_second_is_out_and_nothing_holds_up_the_supervisor(host: RunningHost) -> None:
    steps = host.folder / "steps"
    clients = {name: host.client(name) for name in CLIENTS}
    for name, client in clients.items():
        client.call("primary/kernel", "uname")
        began = time.monotonic()
        with ControlClient(host.config.run_dir) as control:
            answer = control.ask("revoke", kind="client", what=name, for_ms=0)
        print(f"{name}: {1000 * (time.monotonic() - began):.0f} ms")
        assert answer["stored"] and len(answer["ended"]) == 1, answer
        with pytest.raises(TlsrtError):  # Primary hears it as soon as we do
            call_on(client, began + 30)
    wait_for(steps)
    rows = json.loads(steps.read_text())
    turns = [turn for turn, _ in rows]
    assert len(set(turns)) == len(turns) > 20, "one step a turn: others are served between two of them"
    assert max(count for _, count in rows) <= 14, "and none is long"


def call_on(client: Client, until: float) -> None:
    while time.monotonic() < until:
        client.call("primary/kernel", "uname", timeout_s=10)


def wait_for(path: Path) -> None:
    limit = time.monotonic() + 30
    while not path.exists() or not path.read_text():
        assert time.monotonic() < limit
        time.sleep(0.01)
