"""Messages on two real hosts: by the command and by Python, over kills of both, with files and receipts."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.joined_messages import MESSAGES, PROCESS, JoinedMessages, joined, until
from hosts.running_host import RunningHost

from tlsrt import CallError, Client
from tlsrt.errors import Failed

LIMIT_S = 60.0


@pytest.fixture(scope="module")
def hosts(request: pytest.FixtureRequest) -> Iterator[JoinedMessages]:
    failed = request.session.testsfailed
    with joined() as made:
        yield made
        if request.session.testsfailed > failed:
            for host in made.hosts.values():
                host.print_logs()


@pytest.fixture
def kettle(hosts: JoinedMessages) -> RunningHost:
    return hosts.hosts["kettle"]


@pytest.fixture
def attic(hosts: JoinedMessages) -> RunningHost:
    return hosts.hosts["attic"]


def tlsrt(host: RunningHost, who: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tlsrt", "--bundle", str(host.folder / f"{who}.tlsrt"), *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


def inbox(client: Client, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.call(MESSAGES, "inbox", **more, timeout_s=60)["messages"]
    return found


def states(client: Client, id: str) -> list[str]:
    found = client.call(MESSAGES, "sent", limit=100, timeout_s=60)["messages"]
    return [one["state"] for message in found if message["id"] == id for one in message["recipients"]]


def empty(client: Client) -> None:
    while found := inbox(client, limit=100):
        client.call(MESSAGES, "acknowledge", [one["id"] for one in found])


def test_a_person_leaves_a_message_with_a_file_at_another_host(
    kettle: RunningHost, attic: RunningHost, tmp_path: Path
) -> None:
    data = os.urandom(700_000)
    (tmp_path / "photo.jpg").write_bytes(data)
    sent = tlsrt(
        kettle, "anna", "send", "client/bob@attic", "-", "--topic", "house.door", "--attach",
        str(tmp_path / "photo.jpg"), text="who is at\nthe door?\n",
    )  # fmt: skip
    assert sent.returncode == 0, sent.stderr
    id = sent.stdout.split()[1]
    assert sent.stdout == f"kept {id}\nwaits for the host attic\n"
    with attic.client("bob") as bob, kettle.client("anna") as anna:
        until(lambda: inbox(bob))
        listed = tlsrt(attic, "bob", "inbox")
        assert id[:8] in listed.stdout and "client/anna@kettle" in listed.stdout, listed
        assert until(lambda: states(anna, id) == ["delivered"])
        read = tlsrt(attic, "bob", "inbox", "read", id[:8], "--save", str(tmp_path / "."))
        assert read.stdout.endswith("\n\nwho is at\nthe door?\n"), read
        (tmp_path / "photo.jpg").unlink()
        got = tlsrt(attic, "bob", "get", f"{MESSAGES}/{id}/photo.jpg", str(tmp_path / "got.jpg"))
        assert got.returncode == 0, got.stderr
        assert (tmp_path / "got.jpg").read_bytes() == data
        assert until(lambda: states(anna, id) == ["read"]), "the receipt has come back"
        done = tlsrt(attic, "bob", "inbox", "acknowledge", id)
        assert done.stdout == "acknowledged 1\n", done
        assert tlsrt(attic, "bob", "inbox").stdout == "no messages\n"


def test_following_shows_what_comes_and_json_has_it_all(kettle: RunningHost) -> None:
    with kettle.client("eve") as eve:
        empty(eve)
    words = [sys.executable, "-m", "tlsrt", "--bundle", str(kettle.folder / "eve.tlsrt"), "--json", "inbox", "--follow"]
    with subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as follower:
        try:
            assert follower.stdout is not None and follower.stderr is not None
            for text in ("one", "two", "three"):
                with kettle.client("anna") as anna:
                    anna.call(MESSAGES, "send", "client/eve", text, timeout_s=60)
                found = json.loads(follower.stdout.readline())
                assert (found["body"], found["from"]) == (text, "client/anna")
                if text == "two":
                    kettle.respawn("primary")
                    assert re.fullmatch("tlsrt: .*; trying again\n", follower.stderr.readline())
        finally:
            follower.send_signal(signal.SIGINT)
            assert follower.wait(30) == 130


def test_a_mistake_is_one_sentence(kettle: RunningHost, tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"x")
    for words, said in (
        (("send", "bob", "x"), "expected client/NAME"),
        (("send", "client/bob@moon", "x"), "no way leads to a host 'moon'"),
        (("send", "client/bob"), "there is no text"),
        (("send", "client/bob", "--attach", str(tmp_path / "a b")), "cannot be a name there"),
        (("inbox", "read"), "inbox read ID"),
        (("inbox", "read", "0123abcd"), "there is no message 0123abcd in your mailbox"),
        (("outbox", "retry", "0123abcd"), "no message 0123abcd waits for another host"),
    ):
        answer = tlsrt(kettle, "anna", *words)
        assert answer.returncode != 0 and said in answer.stderr, (words, answer)
        assert "Traceback" not in answer.stderr and answer.stderr.count("\n") == 1, answer


def test_it_arrives_after_both_hosts_were_killed_in_between(hosts: JoinedMessages) -> None:
    """kill -9 of everything at both: the message is left while the other host is away, and each dies before it goes."""
    kettle, attic = hosts.hosts["kettle"], hosts.hosts["attic"]
    end(attic)
    with kettle.client("anna") as anna:
        id = anna.call(MESSAGES, "send", "client/bob@attic", "when you are back", timeout_s=60)["id"]
        until(lambda: "cannot reach" in (shown(anna)[0]["error"] or ""))
    shown_text = tlsrt(kettle, "anna", "outbox").stdout
    assert id[:8] in shown_text and "host attic: cannot reach 127.0.0.1" in shown_text
    end(kettle)
    kettle.start()
    attic.start()
    with attic.client("bob") as bob, kettle.client("anna") as anna:
        until(lambda: [one["id"] for one in inbox(bob)] == [id])
        until(lambda: states(anna, id) == ["delivered"])
        empty(bob)


def shown(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.call(MESSAGES, "outbox", timeout_s=60)["messages"]
    return found


def end(host: RunningHost) -> None:
    """Kill all processes of a host at once."""
    for pid in {**host.pids(), **host.all_pids()}.values():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert host.process is not None
    host.process.kill()
    host.stop()


def test_a_loop_of_two_hosts_ends_as_a_dead_letter_that_a_person_sees(hosts: JoinedMessages) -> None:
    """Each host sends the mailbox `client/loop` on to the other."""
    kettle = hosts.hosts["kettle"]
    with kettle.client("anna") as anna, kettle.client() as admin:
        id = anna.call(MESSAGES, "send", "client/loop", "round and round", timeout_s=60)["id"]
        [dead] = until(lambda: [one for one in shown(admin) if one["state"] == "dead"])
        assert dead["id"] == id and "it goes in a loop" in dead["error"]
    said = tlsrt(kettle, "admin", "outbox").stdout
    assert "refuses it: it goes in a loop" in " ".join(said.split())
    dropped = tlsrt(kettle, "admin", "outbox", "drop", id[:8])
    assert dropped.stdout == f"{id} goes no further\n", dropped
    assert tlsrt(kettle, "admin", "outbox").stdout == "nothing waits\n"


def kill(host: RunningHost) -> None:
    """Kill the process of messages, and wait for the next one."""
    pid = host.kill(PROCESS)

    def is_back(status: dict[str, Any]) -> bool:
        found = [one for one in status["loops"] if one["name"] == PROCESS]
        return any(one["state"] == "active" and one["pid"] != pid for one in found)

    host.until(is_back, f"another {PROCESS}", timeout_s=30)


def kill_while_sending(hosts: JoinedMessages, kills: int, seed: int) -> None:
    """Kill the process of messages at both hosts while one sends and an application at the other takes them."""
    print("seed", seed)
    chance = random.Random(seed)
    kettle, attic = hosts.hosts["kettle"], hosts.hosts["attic"]
    is_over, is_done = threading.Event(), threading.Event()
    acknowledged: list[str] = []
    seen: list[str] = []
    failures: list[BaseException] = []

    def write() -> None:
        number = 0
        while not is_over.is_set():
            id = hashlib.md5(f"{seed} {number}".encode()).hexdigest()  # a name
            try:
                with kettle.client("anna") as client:
                    while not is_over.is_set():
                        client.call(MESSAGES, "send", "client/bob@attic", str(number), id=id, timeout_s=5)
                        acknowledged.append(id)
                        number += 1
                        id = hashlib.md5(f"{seed} {number}".encode()).hexdigest()
            except CallError as error:
                if isinstance(error, Failed) and "failed" not in error.message:
                    is_over.wait(0.05)  # half of the mailbox: its reader has to keep up

    def read() -> None:
        """An application that keeps its position, and acknowledges what it has done."""
        position = 0
        while not is_done.is_set():
            try:
                with attic.client("bob") as client:
                    while not is_done.is_set():
                        found = client.call(MESSAGES, "inbox", limit=100, after=position, timeout_s=5)["messages"]
                        for one in found:
                            seen.append(one["id"])
                            position = one["position"]
                        if found:
                            client.call(MESSAGES, "acknowledge", [one["id"] for one in found], timeout_s=5)
                        else:
                            is_done.wait(0.01)
            except CallError:
                continue

    def guarded(work: Any) -> Any:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)
                raise

        return run

    with attic.client("bob") as bob:
        empty(bob)
    threads = [threading.Thread(target=guarded(work)) for work in (write, read)]
    for thread in threads:
        thread.start()
    try:
        for number in range(kills):
            is_over.wait(chance.random() * 0.15)
            host = (kettle, attic)[number % 2]
            kill(host)
        is_over.set()
        threads[0].join(60)
        until(lambda: failures or set(acknowledged) <= set(seen), 120)
        with kettle.client("anna") as anna:
            until(lambda: not [one for one in shown(anna) if one["kind"] == "message"], 120)
    finally:
        is_over.set()
        is_done.set()
        for thread in threads:
            thread.join(60)
    print("acknowledged", len(acknowledged), "seen", len(seen))
    assert not failures and len(acknowledged) > kills
    assert set(acknowledged) <= set(seen), "nothing that was acknowledged is lost"
    assert len(seen) == len(set(seen)), "nothing is seen twice"


def test_nothing_is_lost_or_seen_twice_when_both_are_killed(hosts: JoinedMessages) -> None:
    kill_while_sending(hosts, 8, 21)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_100_kills(hosts: JoinedMessages) -> None:
    kill_while_sending(hosts, 100, 22)


def cuts(took: list[float]) -> str:
    found = statistics.quantiles(took, n=100)
    return f"p50 {found[49]:.1f} ms, p99 {found[98]:.1f} ms"


def test_figures_and_no_refused_call(hosts: JoinedMessages) -> None:
    kettle, attic = hosts.hosts["kettle"], hosts.hosts["attic"]
    with kettle.client("anna") as anna, attic.client("bob") as bob:
        empty(bob)
        came: dict[str, float] = {}
        arrived = threading.Semaphore(0)

        def watch() -> None:
            for one in bob.stream(MESSAGES, "watch", 0, timeout_s=60):
                came[one["id"]] = time.perf_counter()
                arrived.release()
                if len(came) == 160:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        took, way, ids = [], [], []
        for _ in range(60):
            began = time.perf_counter()
            id = anna.call(MESSAGES, "send", "client/bob@attic", "a figure", timeout_s=60)["id"]
            took.append(1000 * (time.perf_counter() - began))
            assert arrived.acquire(timeout=LIMIT_S)
            way.append(1000 * (came[id] - began))
            ids.append(id)
        began = time.perf_counter()
        for _ in range(100):
            anna.call(MESSAGES, "send", "client/bob@attic", "a figure", timeout_s=60)
        watcher.join(LIMIT_S)
        assert len(came) == 160
        rate = 100 / (time.perf_counter() - began)
        print(f"send: {cuts(took)}; to the watcher at the other host: {cuts(way)}; {rate:.0f} messages/s, one by one")
        empty(bob)
    for name, host in hosts.hosts.items():
        loop = host.loop(PROCESS)
        used = psutil.Process(loop["pid"]).memory_full_info()
        print(f"{name}: {used.pss / (1 << 20):.1f} MiB (PSS), {used.uss / (1 << 20):.1f} of its own")
        assert loop["violations"] == 0
