"""Attacked sentence: no sender and no reader makes `external/messages` lose its memory, its mailboxes or its place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from hosts.joined_messages import MESSAGES, PROCESS
from hosts.running_host import RunningHost

import tlsrt.loops.external

MANIFEST = Path(tlsrt.loops.external.__file__).parent / "messages.tlsrt.yaml"
NAMES = ("anna", "bob", "carl", "eve")
WIDE = "\U0001f4a3" + "x" * 65_000  # one character that makes each of the others take four bytes


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    manifest = yaml.safe_load(MANIFEST.read_text())
    made = RunningHost(
        components={MESSAGES: {"class": manifest["class"], "needs": manifest["needs"]}}, clients=list(NAMES),
        policy={f"client/{name} -> {MESSAGES}": "*" for name in ("admin", *NAMES)},
    )  # fmt: skip
    failed = request.session.testsfailed
    try:
        made.start()
        made.until(lambda status: made.loop(PROCESS)["state"] == "active", "started messages")
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()
    finally:
        made.close()


def used_mb(host: RunningHost) -> int:
    return int(psutil.Process(host.loop(PROCESS)["pid"]).memory_full_info().uss >> 20)


def send_many(host: RunningHost, sender: str, count: int, to: str, body: str = WIDE, **more: Any) -> None:
    with host.client(sender) as client:
        for _ in range(count):
            client.call(MESSAGES, "send", to, body, **more)


def test_watches_that_no_one_reads_hold_little(host: RunningHost) -> None:
    before = used_mb(host)
    for sender, to in (("anna", "client/bob"), ("bob", "client/carl"), ("carl", "client/anna")):
        send_many(host, sender, 20, to)
    clients = [host.client(name) for name in ("anna", "bob", "carl") for _ in range(4)]
    watches: list[Any] = [client.stream(MESSAGES, "watch") for client in clients for _ in range(2)]
    for watch in watches:
        next(watch)
    with host.client("eve") as eve:
        for _ in range(20):
            eve.call(MESSAGES, "inbox")
    held = used_mb(host)
    for client in clients:
        client.close()
    print("MiB before, with 24 watches:", before, held)
    assert held - before < 20, "a watch holds one message"


def test_messages_with_many_files_do_not_close_a_mailbox(host: RunningHost) -> None:
    empty = hashlib.sha256().hexdigest()
    files = [{"name": f"{number:a>127}", "size": 0, "sha256": empty} for number in range(16)]
    with host.client("eve") as eve, host.client("bob") as bob:
        for _ in range(72):
            for one in files:
                eve.call(MESSAGES, "begin_put", one["name"], 0, empty)
            eve.call(MESSAGES, "send", "client/bob", WIDE[:80], "t" * 128, attachments=files, priority=9)
        found = bob.call(MESSAGES, "inbox", 100)["messages"]
        assert len(found[0]["attachments"]) == 16 and 30 < len(found) < 72
        bob.call(MESSAGES, "acknowledge", [one["id"] for one in found])
        assert bob.call(MESSAGES, "inbox", 100)["messages"], "and then the next"
        count, before = 0, None
        while page := eve.call(MESSAGES, "sent", 100, before):
            count += len(page["messages"])
            if (before := page["next"]) is None:
                break
        assert count == 72
