"""Attacked sentence: a loop can use up only what is its own; meanwhile everybody else is answered in bounded time.

The bombs of `captured/bombs.py` go off inside a real loop, while clients ask other loops. The bound on their answers is
relative to a quiet moment of the same test, and generous: it is no measurement.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from attackers.arena import VICTIM
from attackers.loop_scripts import SCRIPTS, scripted
from hosts.running_host import RunningHost
from probes.sandbox_runner import MODES

from tlsrt import Client, OutcomeUnknown

MEMORY_MB, FILE_MB = 128, 8
LEAST_S, TIMES = 0.25, 20
CALLS = 60
OTHERS = ((SCRIPTS["primary"], "poke", 1), (VICTIM, "value"), (SCRIPTS["forth"], "poke", 2))


@pytest.fixture(scope="module", params=MODES)
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from scripted(request, request.param, loops={"third": {"memory_mb": MEMORY_MB, "file_size_mb": FILE_MB}})


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Client:
    return host.client()


class Bomb(threading.Thread):
    """A bomb in a loop, with a client of its own."""

    def __init__(self, host: RunningHost, loop: str, name: str, number: int) -> None:
        super().__init__()
        self.result: Any = None
        self._client, self._call = host.client(), (SCRIPTS[loop], "bomb", name, number)
        self.start()

    def run(self) -> None:
        try:
            self.result = self._client.call(*self._call, timeout_s=60)
        except OutcomeUnknown:
            self.result = "restarted"


def p99(client: Client, during: threading.Thread | None = None) -> float:
    """Ask the other loops in turn, as long as a bomb goes on; return the 99th percentile of the answers, in s."""
    taken: list[float] = []
    while len(taken) < CALLS or (during is not None and during.is_alive()):
        for call in OTHERS:
            start = time.monotonic()
            client.call(*call, timeout_s=10)
            taken.append(time.monotonic() - start)
    return sorted(taken)[len(taken) * 99 // 100]


def exploded(
    host: RunningHost, client: Client, loop: str, name: str, number: int, *, ending: frozenset[str] = frozenset()
) -> Any:
    """Let a bomb go off in a loop; assert that the others do not mind, and return what it says.

    `ending` are loops that may end now for what they did before.
    """
    quiet, before = p99(client), restarts(host)
    bomb = Bomb(host, loop, name, number)
    slow = p99(client, bomb)
    bomb.join()
    assert slow < max(LEAST_S, TIMES * quiet), f"{slow:.3f} s instead of {quiet:.3f} s"
    after = restarts(host)
    ended = {other for other in after if after[other] != before[other]}
    assert ended <= {loop, *ending}, f"{name} in {loop} has ended {ended}"
    return bomb.result


def restarts(host: RunningHost) -> dict[str, int]:
    document = host.status()
    return {loop["name"]: loop["restarts"] for loop in document["loops"]} | {"authority": document["authority"]["pid"]}


def test_all_of_the_processor_without_missing_a_beat(host: RunningHost, client: Client) -> None:
    assert set(exploded(host, client, "third", "burn", 1)) == {"allowed"}


def test_all_of_the_processor_without_a_beat(host: RunningHost, client: Client) -> None:
    before = len(host.console)
    assert exploded(host, client, "third", "spin", 30) == "restarted"
    assert "heartbeat" in host.wait_for("^third +died ", after=before)
    host.wait_for("^third +active ", after=before)
    assert client.call(SCRIPTS["third"], "poke", 3) == 3


@pytest.mark.parametrize("kind", ["memory", "private_memory"])
def test_memory_ends_at_the_limit_of_the_loop(host: RunningHost, client: Client, kind: str) -> None:
    found = exploded(host, client, "third", kind, 8 * MEMORY_MB)
    assert found["outcome"] in ("MemoryError", "ENOMEM") and 0 < found["mib"] < MEMORY_MB
    assert client.call(SCRIPTS["third"], "poke", 3) == 3


@pytest.mark.parametrize("kind", ["shared_memory", "validated_memory", "growing_memory"])
def test_memory_that_no_limit_counts_cannot_be_had(client: Client, kind: str) -> None:
    found = client.call(SCRIPTS["third"], "bomb", kind, 8 * MEMORY_MB, timeout_s=30)
    assert found == {"outcome": "EPERM", "mib": 0}


def test_memory_of_the_kernel_behind_sockets_is_limited_by_their_number(host: RunningHost, client: Client) -> None:
    found = exploded(host, client, "third", "buffers", 0)
    assert not found["larger"] and 0 < found["mib"] < 4 * MEMORY_MB


def test_descriptors_of_every_kind(host: RunningHost, client: Client) -> None:
    found = exploded(host, client, "third", "descriptors", 0)
    assert {name.split()[0] for name in found} == {"socket", "socketpair", "eventfd", "file"}
    assert all(name.endswith(" EMFILE") and count < 256 for name, count in found.items())


def test_signals_that_wait(host: RunningHost, client: Client) -> None:
    found = exploded(host, client, "third", "signals", 0)
    assert found["outcome"] == "EAGAIN" and found["count"] <= 256


def test_threads(host: RunningHost, client: Client) -> None:
    assert exploded(host, client, "third", "threads", 0) == {"outcome": "can't start new thread", "count": 0}
    found = exploded(host, client, "external", "threads", 0)
    assert found["outcome"] == "can't start new thread" and found["count"] <= (64 if host.mode == "root" else 512)


def test_what_is_counted_for_a_whole_user_keeps_nobody_from_coming_back(host: RunningHost) -> None:
    """Rootless, descriptors under way and tasks are counted for all loops together."""
    bombs = {"external": "threads", "third": "in_flight"}
    logs = {loop: host.log(loop) for loop in bombs}
    running = [Bomb(host, loop, name, 3) for loop, name in bombs.items()]

    def said(words: str) -> bool:
        return all(words in host.log(loop)[len(logs[loop]) :] for loop in bombs)

    host.until(lambda _: said("holding"), "both hold all that they can get")
    for loop in ("forth", "primary"):
        host.respawn(loop)
    with Client(host.admin) as another:
        assert another.call(SCRIPTS["forth"], "poke", 5) == 5
    assert not said("let go")
    host.until(lambda _: said("let go"), "both let go")
    for bomb in running:
        bomb.join()


def test_a_file_ends_at_the_limit_of_the_loop(host: RunningHost, client: Client) -> None:
    assert exploded(host, client, "third", "file_size", 8 * FILE_MB) == {"outcome": "EFBIG", "mib": FILE_MB}


def test_a_flood_of_its_own_log_ends_there_and_is_put_aside_in_the_end(host: RunningHost, client: Client) -> None:
    assert exploded(host, client, "third", "log", 8 * FILE_MB)["outcome"] == "EFBIG"
    log = host.config.log_dir / "third.log"
    assert log.stat().st_size <= FILE_MB << 20
    assert client.call(SCRIPTS["third"], "poke", 3) == 3
    host.respawn("third")
    assert log.stat().st_size < 1 << 16 and log.with_name("third.log.1").stat().st_size <= FILE_MB << 20
    client.call(SCRIPTS["third"], "poke", 4, timeout_s=30, idempotent=True)  # its keys may still be on their way
    client.call(SCRIPTS["third"], "bomb", "spin", 0, timeout_s=30)
    assert "bomb spin" in host.log("third"), "the next life can write"


def test_a_fork_bomb_ends_with_its_loop(host: RunningHost, client: Client) -> None:
    for loop in ("third", "external"):
        before = len(host.console)
        assert exploded(host, client, loop, "forks", 30, ending=frozenset({"third"})) == "restarted"
        assert re.search("anomaly: score|more than 64 refused calls", host.wait_for(f"^{loop} +died ", after=before))
        host.wait_for(f"^{loop} +active ", after=before)
        assert client.call(SCRIPTS[loop], "poke", 3, idempotent=True) == 3
