"""Attacks on mailboxes without a host: ids and topics that others choose, a clock that is set, callers that go."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosts.message_service import ANNA, BOB, EVE, ClockedMessages, inbox, send, service

from tlsrt.errors import Failed, InvalidArgument
from tlsrt.loops.component.caller import begin_as
from tlsrt.loops.external.host_intake import LOGGED_MS, HostIntake

WIDE = "\U0001f4a3" + "x" * 65_000  # one character that makes each of the others take four bytes


@pytest.fixture(autouse=True)
def clock() -> None:
    ClockedMessages.ahead_ms = 0


def test_one_sender_cannot_use_up_all_mailboxes(tmp_path: Path) -> None:
    with service(tmp_path, mailboxes=16) as it:
        for number in range(4):
            send(it, f"client/n{number}", caller=EVE)
        for number in range(4, 40):
            with pytest.raises(Failed, match="4 mailboxes with messages of client/eve were never looked into"):
                send(it, f"client/n{number}", caller=EVE)
        send(it, "client/n0", caller=EVE)
        send(it, BOB, caller=ANNA)
        assert len(inbox(it)) == 1


def test_an_id_that_two_senders_chose_blocks_neither_message(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        id = send(it, body="the first")
        send(it, body="with the same id", caller=EVE, id=id)
        other = send(it, body="another")
        with pytest.raises(InvalidArgument, match="two messages begin with"):
            it.call("read", id[:8], caller=BOB)
        assert it.call("read", id, caller=BOB)["body"] == "the first"
        assert it.call("acknowledge", [id, other], caller=BOB) == 2
        assert it.call("read", id, caller=BOB)["body"] == "with the same id"
        assert it.call("acknowledge", [id], caller=BOB) == 1
        assert inbox(it) == []


def test_a_topic_is_no_pattern(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        for topic in ("a_b.x", "axb.x", "A_B.x", "a_b", "a_b-c", "a_bc", "a_b/x"):
            send(it, topic=topic)
        assert sorted(one["topic"] for one in inbox(it, topic="a_b")) == ["a_b", "a_b.x"]


def test_what_waits_for_a_host_goes_on_after_the_clock_was_set_back(tmp_path: Path) -> None:
    hosts = {"name": "kettle", "hosts": {"attic": {"client": "client/attic", "key": "0" * 64, "secret": ""}}}
    with service(tmp_path, **hosts) as it:
        component = it.component
        component._tables._hosts = frozenset({"attic"})  # a way, which no link carries here
        ClockedMessages.ahead_ms = 366 * 86_400_000
        send(it, "client/carl@attic")
        ClockedMessages.ahead_ms = 0
        found = it.run(component.db.query(component._outgoing.batch, "attic", component.wall_ms()))
        assert [one.envelope.to for one in found] == ["client/carl"]


def test_a_caller_that_goes_does_not_keep_a_message_from_who_watches(tmp_path: Path) -> None:
    async def scene(component: Any) -> str:
        begin_as(BOB)
        watching = component.watch()
        heard = asyncio.ensure_future(anext(watching))
        while not component._watches._events.get(BOB):
            await asyncio.sleep(0)
        await component.db.query(component._mailboxes.is_opened, BOB)
        begin_as(ANNA)
        sending = asyncio.ensure_future(component.send(BOB, "hello"))
        for _ in range(3):
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        async with asyncio.timeout(20):
            return str((await heard)["body"])

    with service(tmp_path) as it:
        assert it.run(scene(it.component)) == "hello"


def test_large_bodies_are_not_read_where_no_one_sees_them(tmp_path: Path) -> None:
    with service(tmp_path, mailbox_messages=1000, expires_s=60) as it:
        for _ in range(100):
            send(it, body=WIDE)
        send(it, body=os.urandom(2000))
        it.call("inbox", caller=BOB)
        tracemalloc.start()
        try:
            shown = it.call("inbox", 100, caller=BOB)["messages"]
            it.call("sent", 100, caller=ANNA)
            ClockedMessages.ahead_ms = 120_000
            component = it.component
            expired, unread = it.run(component.db.transaction(component._tables.pass_time, component.wall_ms()))
            assert expired == len(unread) == 101
            assert tracemalloc.get_traced_memory()[1] < 4 << 20, "of 25 MiB of text"
        finally:
            tracemalloc.stop()
        assert shown[0]["preview"] == "2000 bytes"
        assert shown[1]["preview"] == WIDE[:80]


def test_a_host_that_forges_for_ever_does_not_push_all_else_out_of_the_log() -> None:
    told: list[tuple[str, str]] = []
    keys = {name: Ed25519PrivateKey.generate().public_key() for name in ("attic", "cellar")}
    intake = HostIntake({"client/attic": "attic"}, keys, lambda host, reason: told.append((host, reason)))
    for number in range(1000):
        refused, opened = intake.open_untrusted("attic", [[b"x" * number, b""]] * 3, 10_000_000 + number)
        assert len(refused) == 3 and not opened
    intake.open_untrusted("cellar", [[b"", b""]], 10_000_000)
    intake.open_untrusted("attic", [[b"", b""]], 10_000_000 + LOGGED_MS)
    intake.open_untrusted("attic", [[b"", b""]], 5)  # the clock was set back
    why = "its signature is not of the key that is set for"
    assert len(told) == 1003, "each is counted, and is the alert"
    assert [one for one in told if one[1]] == [
        ("attic", f"{why} attic"), ("cellar", f"{why} cellar"), ("attic", f"{why} attic; 999 times more before"),
        ("attic", f"{why} attic"),
    ]  # fmt: skip
