"""The authority is killed under calls from components and clients: it comes back in milliseconds with the next epoch,
every call is answered once or ends with a typed error, and an authority that cannot come back ends all service.
"""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attackers.tls_peer import TlsPeer, open_session
from hosts.call_load import end_asker, names_run
from hosts.flow_package.flowing import asker as asking
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.channels.session.verifier import FEED_SILENCE_MS
from tlsrt.errors import CallError
from tlsrt.supervisor.authority.model.state import STATE_NAME, decode_state

PACKAGE = Path(asking.__file__).parent
ASKER, LEDGER = "third/asker", asking.LEDGER
LOOPS = ("primary", "secondary", "third", "forth", "external")
KILLS = 5
SILENCE_S = FEED_SILENCE_MS / 1000
# What may become of a call: nothing else, and nothing that is called done without having run once.
TYPED = frozenset({"ok", "busy", "unavailable", "away", "stale", "outcome_unknown", "rejected", "stream_broken"})
# Every loop says in its log when it seals with a new epoch.
WATCHES = """
import sys, time
from tlsrt.loops.runtime import authority_client
def _commit(self, message, now, real=authority_client.AuthorityClient._commit):
    real(self, message, now)
    print("COMMIT", message.epoch, time.monotonic_ns(), file=sys.stderr, flush=True)
authority_client.AuthorityClient._commit = _commit
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request,
        components={
            LEDGER: {"class": "flowing.ledger:Ledger", "process": "shared"},
            ASKER: {"class": "flowing.asker:Asker", "process": "shared"},
        },
        policy={f"client/* -> {LEDGER}": "*", f"client/* -> {ASKER}": "*", f"{ASKER} -> {LEDGER}": "*"},
        packages=[PACKAGE],
        clients=["caller"],
        prelude=LatePrelude(WATCHES),
    )


@contextmanager
def calling(host: RunningHost, label: str, records: list[tuple[str, str]]) -> Iterator[None]:
    """Call on and on as a client; `records` gets the name of each call and what became of it."""
    ending = threading.Event()

    client = host.client("caller")

    def call() -> None:
        for number in range(1 << 30):
            if ending.is_set():
                return
            name = f"{label}.plain.{number}"
            try:
                client.call(LEDGER, "run", name, 0.0, timeout_s=asking.TIMEOUT_S)
                records.append((name, "ok"))
            except CallError as error:
                records.append((name, error.code))

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def judge(records: list[tuple[str, str]], runs: Counter[str]) -> None:
    words = Counter(word for _, word in records)
    assert set(words) <= TYPED, words
    assert words["ok"]
    for name, word in records:
        assert runs[name] <= 1, f"{name} ran {runs[name]} times"
        assert runs[name] == 1 or word != "ok", f"{name} was answered and did not run"


def kill(host: RunningHost) -> tuple[float, float, float]:
    """Kill the authority; return ms: of its birth, as it says, and from the kill to its word and to every commit."""
    epoch, seen, before = host.status()["authority"]["epoch"], len(host.console), time.monotonic_ns()
    host.kill("authority")
    line = host.wait_for("^authority +active", after=seen)
    back = time.monotonic_ns()
    document = host.until(
        lambda document: document["authority"]["epoch"] > epoch and document["boundary"]["equal"], "the next epoch"
    )  # fmt: skip
    word = re.compile(rf"^COMMIT {document['authority']['epoch']} (\d+)$", re.MULTILINE)
    # A loop that has not beaten yet is taken for one that is where it was attested for.
    host.until(lambda document: all(word.search(host.log(loop)) for loop in LOOPS), "a commit in every loop")
    commits = [int(word.findall(host.log(loop))[0]) for loop in LOOPS]
    took = re.search(r"(\d+) ms", line)
    assert took is not None, line
    return float(took[1]), (back - before) / 1e6, (max(commits) - before) / 1e6


def test_it_comes_back_with_the_next_epoch_and_no_call_is_lost_or_doubled(host: RunningHost) -> None:
    control: Client = host.client()
    control.call(ASKER, "begin", "component", ["plain"], 2)
    records: list[tuple[str, str]] = []
    with calling(host, "client", records):
        first = host.status()
        figures = [kill(host) for _ in range(KILLS)]
    last = host.status()
    records += [(name, word) for name, word, _ in end_asker(control)]
    judge(records, Counter(names_run(host)))
    assert last["authority"]["restarts"] == first["authority"]["restarts"] + KILLS
    assert last["authority"]["epoch"] == first["authority"]["epoch"] + KILLS
    assert [loop["pid"] for loop in last["loops"]] == [loop["pid"] for loop in first["loops"]], "no loop noticed"
    booted, back, committed = ([each[index] for each in figures] for index in range(3))
    print(f"ms, of {KILLS}: fork to booted {booted}, kill to booted {back}, kill to the last commit {committed}")
    assert statistics.median(booted) < 2000, "of what a start takes without load, a few times"
    assert min(committed) < SILENCE_S * 1000, "before any verifier had to refuse"


def test_a_client_opens_again_in_one_round_trip(host: RunningHost) -> None:
    client = host.client("caller")
    client.call(LEDGER, "tell", 1)
    with open_session(host, "admin") as peer:
        seen = len(host.console)
        host.kill("authority")
        goodbye = peer.control()
        if goodbye.name == "granted":  # a push that was under way
            goodbye = peer.control()
        assert (goodbye.name, goodbye.fields) == ("goodbye", ("ended",))
        host.wait_for("^authority +active", after=seen)
    with TlsPeer(host, "admin") as peer:
        sent: list[bytes] = []
        write = peer.write

        def counted(data: bytes) -> None:
            sent.append(data)
            write(data)

        peer.write = counted  # type: ignore[method-assign]
        peer.open()  # it waits for the challenge, sends one message and takes one
        assert len(sent) == 1 and peer.content.subject == "client/admin"
    client.call(LEDGER, "tell", 2, timeout_s=20)  # by itself


def test_killed_again_and_again_it_comes_back_and_nothing_is_weaker(host: RunningHost) -> None:
    records: list[tuple[str, str]] = []
    before = host.status()["authority"]
    with calling(host, "again", records):
        for _ in range(3):
            seen = len(host.console)
            host.kill("authority")
            host.wait_for("^authority +active", after=seen)
    host.until(lambda document: document["boundary"]["equal"], "one epoch everywhere")
    judge(records, Counter(names_run(host)))
    assert host.status()["authority"]["epoch"] == before["epoch"] + 3


def test_one_that_cannot_come_back_ends_all_service_and_then_the_host(request: pytest.FixtureRequest) -> None:
    """Its state is damaged while it runs. Until it is given up, nothing is served that began 3 s after its death."""
    for host in running(request, extra={"supervision": {"restart": {"first_s": 1.5, "cap_s": 3.0, "deaths": 10}}}):
        client, path = host.client(), host.config.state_dir / "authority" / STATE_NAME
        client.call("primary/kernel", "uname")
        # It is written without waiting for it.
        host.until(lambda _: bool(decode_state(path.read_bytes()).first_opens), "a first open in the state")  # noqa: B023
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        answered: list[float] = []
        host.kill("authority")
        died = time.monotonic()  # what it said last was before this
        refused: set[str] = set()
        while not refused or time.monotonic() < died + SILENCE_S + 1:
            begun = time.monotonic()
            assert begun < died + 30, f"calls are still answered: {len(answered)}"
            try:
                client.call("primary/kernel", "uname", timeout_s=2.0)
                answered.append(begun)
            except CallError as error:
                refused.add(error.code)
        assert max(answered, default=0.0) < died + SILENCE_S
        authority: dict[str, Any] = host.status()["authority"]
        assert "damaged" in authority["last_death"]["sentence"] and authority["state"] in ("down", "booting")
        assert "damaged" in host.cli("sessions").stderr or "not running" in host.cli("sessions").stderr
        path.write_bytes(data)  # what is put back helps, as long as nobody has given up
        host.until(lambda document: document["authority"]["state"] == "active", "that it is back", timeout_s=30)
        client.call("primary/kernel", "uname", timeout_s=20, idempotent=True)  # repeated over the end of its channel
        path.write_bytes(data[:-1])
        host.kill("authority")
        host.wait_for("^authority +failed", timeout_s=60)
        assert host.process is not None
        assert host.process.wait(30) == 69
        assert path.read_bytes() == data[:-1], "it is not replaced by an empty one"
