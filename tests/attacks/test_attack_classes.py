"""Attacked sentence: each class of attack of `make bench-detect` is told of and answered by a host that runs.

Real processes, real frames, real time: clients do their ordinary work for as long as the learned detector takes to
know them, then one attack follows the other. Time is saved only by bold attackers. The table that is printed is that
of decision 013, by the host's own clock: `make bench-detect-real`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from attackers.arena import STAGE, VICTIM, Arena, request_body, seal
from attackers.tls_peer import TlsPeer, open_session, request
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.control.telemetry import WINDOW_MS
from tlsrt.channels.frames.frame import pack_frame, parse_frame_untrusted
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.learner.anomaly_model import WARM_UP

STORE = "secondary/store"
STRANGER = "127.0.0.9"  # an address of this machine that nobody else uses here
WORKERS = ("exporter", "flooder", "lister", "robbed", "quiet")  # who has ordinary work, and but for one is attacked
OTHERS = ("guest", "thief", "replayer", "guesser", "patient")
WORK_S = (WARM_UP + 6) * WINDOW_MS / 1000
PATIENCE_S = 180.0
KEYS = {"small": "x" * 300, "large": "x" * 100_000}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    policy: dict[str, Any] = {
        **STAGE["policy"],
        **{f"client/{name} -> {STORE}": "*" for name in WORKERS},
        **{f"client/{name} -> {VICTIM}": ["value"] for name in OTHERS},
        f"client/admin -> {STORE}": "*",
    }
    detection = {"mode": "act", "allow": ["127.0.0.1"]}
    options = {**STAGE, "policy": policy, "detection": detection, "clients": [*WORKERS, *OTHERS]}
    yield from running(request, **options)


@dataclass(slots=True)
class Row:
    """What the host made of one attack; ms from its begin, None if nothing came."""

    name: str
    told: int | None = None
    detector: str = ""
    step: str = ""
    took: int | None = None

    def __str__(self) -> str:
        told, took = (("-" if ms is None else f"{ms / 1000:.2f} s") for ms in (self.told, self.took))
        return f"| {self.name} | {self.detector or '-'} | {told} | {self.step or '-'} | {took} |"


class Host:
    """The attacked host, as its operator sees it."""

    def __init__(self, host: RunningHost) -> None:
        self.host = host
        self.rows: list[Row] = []

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        with ControlClient(self.host.config.run_dir) as client:
            return [event for event in client.follow("events", follow=False, since=since) if "seq" in event]

    def attack(self, name: str, subject: str, deed: Callable[[], object], pause_s: float = 0.0) -> Row:
        """Do a deed again and again until a step is taken against somebody, and note what was told."""
        seen = max((event["seq"] for event in self.events()), default=0)
        row, begin, limit = Row(name), boottime_ms(), time.monotonic() + PATIENCE_S
        looked = 0.0
        while row.took is None and time.monotonic() < limit:
            with suppress(TlsrtError, ConnectionError, OSError, KeyError):
                deed()
            threading.Event().wait(pause_s)  # the attacker's pace
            if time.monotonic() - looked > 0.2:
                looked = time.monotonic()
                self._note(row, subject, begin, self.events(seen))
        self.rows.append(row)
        return row

    @staticmethod
    def _note(row: Row, subject: str, begin: int, events: list[dict[str, Any]]) -> None:
        mine = [event for event in events if event["subject"] == subject]
        told = [event for event in mine if event["name"] in ("detected", "unusual", "response")]
        steps = [event for event in mine if event["name"] == "response"]
        if told and row.told is None:
            row.told = told[0]["boottime_ms"] - begin
            row.detector = told[0]["fields"].get("detector", "learned")
        if steps:
            row.took, row.step = steps[0]["boottime_ms"] - begin, steps[0]["fields"]["step"]


def work(host: RunningHost, name: str, stop: threading.Event) -> None:
    """A client that asks for a small thing twice a second and a bit."""
    client = host.client(name)
    while not stop.wait(0.4):
        with suppress(TlsrtError):
            client.call(STORE, "get", "small")


def counter() -> Callable[[], int]:
    numbers = iter(range(1, 1 << 30))
    return lambda: next(numbers)


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_each_class_of_attack_is_answered(host: RunningHost) -> None:
    admin = host.client()
    for key, value in KEYS.items():
        admin.call(STORE, "put", key, value)
    seen, stop = Host(host), threading.Event()
    threads = [threading.Thread(target=work, args=(host, name, stop), daemon=True) for name in WORKERS]
    for thread in threads:
        thread.start()
    try:
        by_rules(seen)
        stop.wait(max(0.0, WORK_S))
        before = len(seen.rows)
        by_learning(seen)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    print("\n| attack | first told by | after | first step | after |\n|---|---|---|---|---|")
    print(*seen.rows, sep="\n")
    assert all(row.took is not None for row in seen.rows), seen.rows
    assert {row.step for row in seen.rows[before:]} == {"limit"}, "what the learned detector finds is never more"
    assert not [event for event in seen.events() if event["subject"] == "client/quiet" and event["name"] == "response"]
    assert host.status()["lock"] is None


def by_rules(seen: Host) -> None:
    """What nobody may do."""
    host = seen.host
    with ExitStack() as stack:
        peer, seq = stack.enter_context(open_session(host, "replayer")), counter()
        frame = request(peer, VICTIM, "value", seq(), request_body())
        peer.send(frame)
        seen.attack("replay: the same frame twice a second", "client/replayer", lambda: peer.send(frame), 0.5)
    seen.attack("scanning: HTTP to the door, 20 a second", STRANGER, partial(make_noise, host), 0.05)
    with open_session(host, "guest") as victim, open_session(host, "thief") as thief:
        stolen = seal(
            victim.header(VICTIM, "value", 1), request_body(), token=victim.content.token,
            body_key=victim.right(VICTIM).key, proof_key=victim.content.proof_key,
        )  # fmt: skip
        seen.attack("credential theft: a token, with its keys", "client/thief", lambda: thief.send(stolen), 1.0)
    arena = Arena(host)
    forged = parse_frame_untrusted(arena.third.genuine())
    token = bytes([*forged.token[:-1], forged.token[-1] ^ 1])
    grind = pack_frame(forged.header, token, forged.body, forged.proof)
    seen.attack("token grinding: a captured loop, twice a second", "third", lambda: arena.third.send(grind), 0.5)
    for name, who, pause_s in (
        ("enumeration: guessed names, one a second", "guesser", 1.0),
        ("low and slow: a guess every 20 s", "patient", 20.0),
    ):
        with open_session(host, who) as guesser:
            seen.attack(name, f"client/{who}", partial(guess, guesser, counter()), pause_s)


def make_noise(host: RunningHost) -> None:
    """Speak something else to the door, from the stranger's address, until it ends the connection."""
    with socket.create_connection(("127.0.0.1", host.port), 10.0, source_address=(STRANGER, 0)) as noise:
        noise.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while noise.recv(4096):
            continue


def guess(peer: TlsPeer, number: Callable[[], int]) -> None:
    """Call a method that no policy line allows, another one each time."""
    seq = number()
    header = peer.header(VICTIM, f"guess{seq}", seq)._replace(deadline=boottime_ms() + 60_000)
    keys = {"body_key": peer.right(VICTIM).key, "proof_key": peer.content.proof_key}
    peer.send(seal(header, request_body(), token=peer.content.token, **keys))


def by_learning(seen: Host) -> None:
    """What the victim may do and never did; the thief has its bundle."""
    host = seen.host
    number = counter()

    def get(client: Client, key: str) -> None:
        client.call(STORE, "get", key)

    def ask_for_more(client: Client) -> None:
        client.call(STORE, f"guess{number()}")

    def look_around(client: Client) -> None:
        client.call(STORE, ("keys", "entry", "get")[number() % 3], "large")

    attacks: tuple[tuple[str, str, Callable[[Client], None], float], ...] = (
        ("slow exfiltration: 250 kB/s of allowed reads", "exporter", partial(get, key="large"), 0.4),
        ("flooding: allowed calls as fast as answers come", "flooder", partial(get, key="small"), 0.0),
        ("enumeration: names that are allowed, five a second", "lister", ask_for_more, 0.2),
        ("credential theft: a bundle, looking around", "robbed", look_around, 0.2),
    )
    for name, who, deed, pause_s in attacks:
        client = host.client(who)
        seen.attack(name, f"client/{who}", partial(deed, client), pause_s)
