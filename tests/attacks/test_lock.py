"""Attacked sentence: while the host is locked nobody has a session, no frame passes, and Primary has no key.

And it stays so: over deaths of every process and a restart of the host, until somebody unlocks it who may.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from attackers.tls_peer import TlsPeer, open_session, request
from hosts.key_log import tells_keys
from hosts.running_host import RunningHost, running
from probes.process_memory import found_in

from tlsrt import Client
from tlsrt.channels.client.connection import client_context
from tlsrt.channels.tls.message_stream import encode_control
from tlsrt.errors import CallError, ServerLocked
from tlsrt.supervisor.control.client import ControlClient

LOOPS = ("secondary", "third", "forth", "external")
REASON = "somebody was at the door"
# The authority tells in its log every key that it gives to anybody.
TELLS_KEYS = tells_keys("token_key", "mailbox_root", "gate_root", "proof_key", "request_key")
CALLERS = 8


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, clients=["web", "ops"], http=["web"], policy={"client/* -> */*": "*"}, prelude=TELLS_KEYS
    )  # fmt: skip


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients of this process come again at once: how long they wait is tested elsewhere."""
    monkeypatch.setattr("tlsrt.channels.client.session.PAUSE_REFUSED_S", 0.05)
    monkeypatch.setattr("tlsrt.channels.client.session.PAUSE_MAX_S", 0.2)


@pytest.fixture
def locked(host: RunningHost) -> Iterator[RunningHost]:
    """The host, locked; afterwards it is not, whatever happened."""
    lock(host)
    yield host
    if host.status()["lock"] is not None:
        unlock(host)


def ask(host: RunningHost, verb: str, **fields: Any) -> dict[str, Any]:
    with ControlClient(host.config.run_dir) as client:
        return client.ask(verb, timeout_s=60, **fields)


def lock(host: RunningHost) -> dict[str, Any]:
    answer = ask(host, "lock", reason=REASON)
    host.until(lambda document: bool(primary_of(document)["pid"]) and is_calm(document), "a locked door", timeout_s=30)
    return answer


def unlock(host: RunningHost) -> dict[str, Any]:
    answer = ask(host, "unlock")
    assert answer["serves"], answer
    return answer


def primary_of(document: dict[str, Any]) -> dict[str, Any]:
    return next(loop for loop in document["loops"] if loop["name"] == "primary")


def is_calm(document: dict[str, Any]) -> bool:
    return document["authority"]["state"] == "active" and all(loop["state"] == "active" for loop in document["loops"])


def keys_of(host: RunningHost, kinds: str = r"\w+") -> dict[str, bytes]:
    """Return the keys that the authority has given to anybody in this life."""
    told = re.findall(rf"^KEY ({kinds}) ([0-9a-f]+)$", host.log("authority"), re.MULTILINE)
    return {f"{name} {value}": bytes.fromhex(value) for name, value in told}


def is_refused(host: RunningHost, client: Client) -> bool:
    """Tell whether a new client and an old one are told that the host is locked."""
    with pytest.raises(ServerLocked):
        Client(host.bundle("ops"))
    with pytest.raises(ServerLocked):
        client.call("secondary/store", "keys", timeout_s=10)
    return True


def test_a_lock_replaces_primary_alone_and_an_unlock_gives_back_all(host: RunningHost) -> None:
    client = host.client()
    client.call("secondary/store", "put", "before", "lock")
    before, epoch = host.pids(), host.status()["authority"]["epoch"]
    answer = json.loads(host.cli("lock", "--reason", REASON, "--json").stdout)
    host.until(is_calm, "a locked door")
    document, during = host.status(), host.pids()
    assert document["lock"] == answer["lock"] and document["door"]["locked"]
    assert (answer["lock"]["reason"], answer["lock"]["by"], answer["lock"]["stored"]) == (REASON, "operator", True)
    assert during.pop("primary") != before["primary"]
    assert during == {name: pid for name, pid in before.items() if name != "primary"}
    assert document["authority"]["epoch"] > epoch
    assert REASON in host.cli("status").stdout
    assert is_refused(host, client)
    again = ask(host, "lock", reason="another")
    assert again["already"] and again["lock"] == document["lock"]
    done = host.cli("unlock", "--json")
    assert json.loads(done.stdout)["epoch"] > document["authority"]["epoch"]
    assert client.call("secondary/store", "get", "before", timeout_s=20) == "lock"
    after = host.pids()
    assert after.pop("primary") not in (before["primary"], host.loop("secondary")["pid"])
    assert after == during
    assert host.status()["lock"] is None
    done = host.cli("unlock")
    assert done.returncode == 64 and "not locked" in done.stderr


def _loop_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(loop for loop in status["loops"] if loop["name"] == name)
    return found


def test_the_door_of_a_locked_host_says_so_and_carries_nothing(host: RunningHost) -> None:
    with open_session(host, "ops") as peer:
        frame = request(peer, "secondary/store", "keys", 1, b"\x93\x90\x80\xc0")
        epoch = host.status()["authority"]["epoch"]
        lock(host)
        host.until(lambda status: _loop_of(status, "secondary")["epoch"] > epoch, "a beat from after the lock")
        before = host.loop("secondary")["frames"]
        with TlsPeer(host, "ops") as late:
            said = late.control()
            assert said.name == "locked" and REASON not in repr(said)
            late.send(frame)
            assert late.control().fields == ("rejected",)
            assert late.payload() == b""
        assert peer.payload() == b"", "the connection of before has ended"
    with TlsPeer(host, "ops") as late:
        late.control()
        late.send(encode_control("open", peer.open_data, peer.signature))
        assert late.control().fields == ("locked",) and late.payload() == b""
    context = client_context(host.bundle("web"))
    context.set_alpn_protocols(["http/1.1"])
    browser = http.client.HTTPSConnection("127.0.0.1", host.port, context=context, timeout=20)
    browser.request("POST", "/v1/call/secondary/store/keys", "[]", {"Content-Type": "application/json"})
    answer = browser.getresponse()
    problem = json.loads(answer.read())
    browser.close()
    assert answer.status == 503 and int(answer.headers["Retry-After"]) > 0
    assert problem["type"] == "urn:tlsrt:error:locked" and REASON not in json.dumps(problem)
    assert host.loop("secondary")["frames"] == before
    frames = host.loop("primary")["frames"]
    assert (frames["in"], frames["out"]) == (0, 0)
    unlock(host)


if os.geteuid() == 0:

    def test_the_primary_of_a_locked_host_holds_no_key(host: RunningHost) -> None:
        """Neither one of before, nor one of the epoch that the other loops are in."""
        lock(host)
        tokens = keys_of(host, "token_key")
        told = dict([*keys_of(host).items()][-40:]) | tokens
        assert len(tokens) > 1
        pids = host.pids()
        assert [*tokens][-1] in found_in(pids["secondary"], tokens), "the others go on, so there is something to find"
        assert found_in(pids["primary"], told) == set()
        unlock(host)


def test_a_process_that_dies_leaves_the_host_locked(locked: RunningHost) -> None:
    record = locked.status()["lock"]
    for process in ("primary", "authority", "third"):
        before = len(locked.console)
        locked.kill(process)
        locked.wait_for(rf"^{process} +active ", after=before)
        document = locked.until(is_calm, "all of them")
        assert document["lock"] == record
        with pytest.raises(ServerLocked):
            Client(locked.bundle("ops"))
    locked.until(lambda document: bool(document["boundary"]["equal"]), "one epoch")


def test_a_restart_leaves_the_host_locked(locked: RunningHost) -> None:
    record = locked.status()["lock"]
    locked.restart()
    assert locked.status()["lock"] == record
    assert primary_of(locked.status())["restarts"] == 0, "nobody had given it a key, so it is fresh"
    with pytest.raises(ServerLocked):
        Client(locked.bundle("ops"))
    unlock(locked)
    assert locked.client("ops").call("secondary/store", "get", "before") == "lock"


def test_a_lock_under_load_answers_every_call_or_says_why_not(host: RunningHost) -> None:
    ending = threading.Event()
    is_locked = threading.Event()
    outcomes: Counter[str] = Counter()
    beyond: Counter[str] = Counter()
    clients = [host.client("ops") for _ in range(2)]

    def work(client: Client, number: int) -> None:
        count = 0
        while not ending.is_set():
            count += 1
            was_locked = is_locked.is_set()
            try:
                client.call("secondary/store", "put", f"load-{number}", count, timeout_s=20)
                word = "answered"
            except CallError as error:
                word = error.code
            outcomes[word] += 1
            if was_locked:
                beyond[word] += 1
            if word == "locked":
                ending.wait(0.02)

    threads = [threading.Thread(target=work, args=(clients[number % 2], number)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        lock(host)
        is_locked.set()
        while sum(beyond.values()) < CALLERS:
            ending.wait(0.01)
        assert set(beyond) == {"locked"}
        unlock(host)
        assert host.client("ops").call("secondary/store", "get", "before") == "lock"
    finally:
        ending.set()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert set(outcomes) <= {"answered", "locked", "outcome_unknown", "unavailable", "stale"}, outcomes
    print(dict(outcomes))


def test_a_lock_needs_no_authority(host: RunningHost) -> None:
    """It is in force at once, and the authority that comes again writes it down."""
    pids, restarts = host.pids(), host.loop("primary")["restarts"]
    before = len(host.console)
    os.kill(pids["authority"], signal.SIGKILL)
    answer = ask(host, "lock", reason=REASON)
    assert answer["lock"]["reason"] == REASON and not answer["lock"]["stored"] and answer["notes"]
    host.until(lambda document: primary_of(document)["pid"] != pids["primary"], "the end of Primary")
    host.wait_for("^authority +active ", after=before)
    host.wait_for("^primary +active ", after=before)
    document = host.until(lambda document: bool(document["lock"]["stored"]), "a lock on the disk")
    assert document["lock"]["id"] == answer["lock"]["id"]
    with pytest.raises(ServerLocked):
        Client(host.bundle("ops"))
    assert primary_of(document)["restarts"] == restarts + 1, "the one that came without an authority was good"
    unlock(host)
