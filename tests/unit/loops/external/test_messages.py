"""Messages without a host: mailboxes, repeats, bounds, expiry, receipts, loops, and what another host may hand in."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosts.message_service import ANNA, BOB, EVE, NEEDS, ClockedMessages, inbox, send, service

from tlsrt.errors import Busy, CallError, Conflict, Denied, Failed, InvalidArgument, MisuseError, NotFound
from tlsrt.loops.external.message import HOPS, MESSAGE, RECEIPT, Attached, Envelope, signed
from tlsrt.testing import FakeEvents, running_sync

ATTIC = "client/attic"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
HOSTS = {"name": "kettle", "hosts": {"attic": {"client": ATTIC, "key": PUBLIC}}}
MINUTE_MS = 60_000


@pytest.fixture(autouse=True)
def clock() -> None:
    ClockedMessages.ahead_ms = 0


def states(it: Any, id: str, caller: str = ANNA) -> list[str]:
    [found] = [one for one in it.call("sent", caller=caller)["messages"] if one["id"] == id]
    return [one["state"] for one in found["recipients"]]


def envelope(it: Any, **more: Any) -> Envelope:
    now = it.component.wall_ms()
    made = Envelope(
        os.urandom(16).hex(), MESSAGE, "client/carl@attic", BOB, "", "text/plain", "from afar", now, now + MINUTE_MS,
        4, "", (), 1, "",
    )  # fmt: skip
    return replace(made, **more)


def deliver(it: Any, *envelopes: Envelope, key: Ed25519PrivateKey = KEY, heard: list[str] | None = None) -> list[str]:
    parts = [list(signed(one, key)) for one in envelopes]
    answers = it.call("deliver", parts, heard or [], caller=ATTIC)
    return [one["state"] if one["state"] == "kept" else f"{one['state']}: {one['reason']}" for one in answers]


def test_the_sender_is_the_caller_and_no_one_reads_another_s_mailbox(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        id = send(it, topic="house.door")
        with pytest.raises(InvalidArgument):
            it.call("send", BOB, "x", sender=ANNA, caller=EVE)
        assert [(one["from"], one["preview"], one["state"]) for one in inbox(it)] == [(ANNA, "hello", "new")]
        assert inbox(it, EVE) == inbox(it, ANNA) == []
        for method in ("read", "acknowledge"):
            argument: Any = id if method == "read" else [id]
            if method == "read":
                with pytest.raises(NotFound):
                    it.call(method, argument, caller=EVE)
            else:
                assert it.call(method, argument, caller=EVE) == 0
        assert states(it, id) == ["delivered"]
        assert it.call("read", id[:8], caller=BOB)["body"] == "hello"
        assert states(it, id) == ["read"]
        assert it.call("acknowledge", [id], caller=BOB) == 1 and it.call("acknowledge", [id], caller=BOB) == 0
        assert states(it, id) == ["acknowledged"] and inbox(it) == []
        assert it.call("sent", caller=EVE)["messages"] == []


def test_what_is_sent_again_is_the_message_that_is_there_or_was(tmp_path: Path) -> None:
    id = os.urandom(16).hex()
    with service(tmp_path) as it:
        assert it.call("send", BOB, "x", id=id, caller=ANNA)["is_new"]
        again = it.call("send", BOB, "x", id=id, caller=ANNA)
        assert not again["is_new"] and again["mailboxes"] == [BOB] and len(inbox(it)) == 1
        assert it.call("send", BOB, "x", id=id, caller=EVE)["is_new"], "an id is of its sender"
    with service(tmp_path) as it:  # another life
        assert not it.call("send", BOB, "x", id=id, caller=ANNA)["is_new"]
        assert len(inbox(it)) == 2


def test_a_message_for_several_is_done_when_all_are(tmp_path: Path) -> None:
    with service(tmp_path, groups={"family": [ANNA, BOB, EVE]}) as it:
        kept = it.call("send", "group/family", "dinner", caller="third/kettle")
        assert sorted(kept["mailboxes"]) == [ANNA, BOB, EVE] == sorted(kept["unopened"])
        it.call("acknowledge", [kept["id"]], caller=BOB)
        assert states(it, kept["id"], "third/kettle") == ["delivered", "acknowledged", "delivered"]
        assert inbox(it, EVE)[0]["preview"] == "dinner"
        with pytest.raises(InvalidArgument, match="no group 'work'"):
            send(it, "group/work")
        with pytest.raises(InvalidArgument, match="no way leads to a host 'attic'"):
            send(it, f"{BOB}@attic")


def test_the_important_come_first_and_a_position_goes_on(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        low, high = send(it, body="low", priority=0), send(it, body="high", priority=9)
        assert [one["id"] for one in inbox(it)] == [high, low]
        in_order = inbox(it, after=0)
        assert [one["id"] for one in in_order] == [low, high]
        assert [one["id"] for one in inbox(it, after=in_order[0]["position"])] == [high]
        items = it.stream("watch", 0, caller=BOB)
        assert [next(items)["body"], next(items)["body"]] == ["low", "high"]
        send(it, body="new")
        assert next(items)["body"] == "new"
        items.close()


def test_a_bomb_is_refused_with_a_sentence_and_others_are_heard(tmp_path: Path) -> None:
    with service(tmp_path, mailbox_messages=8, messages=64) as it:
        for _ in range(4):
            send(it, caller=EVE)
        with pytest.raises(Failed, match="4 messages of client/eve are in the mailbox of client/bob, half of what it"):
            send(it, caller=EVE)
        for number in range(4):
            send(it, caller=f"client/n{number}")
        with pytest.raises(Failed, match="mailbox of client/bob is full"):
            send(it)
        for number in range(12):
            send(it, f"client/b{number}", caller=EVE)
        with pytest.raises(Failed, match="16 messages of client/eve wait to be acknowledged"):
            send(it, "client/more", caller=EVE)
        it.call("acknowledge", [inbox(it)[0]["id"]], caller=BOB)
        send(it)
        with pytest.raises(InvalidArgument, match="more than 65536 bytes"):
            send(it, body="x" * 65537)


def test_mailboxes_have_a_number_and_empty_ones_go(tmp_path: Path) -> None:
    with service(tmp_path, mailboxes=2) as it:
        ids = [send(it, "client/a"), send(it, "client/b", caller=EVE)]
        with pytest.raises(Failed, match="never looked into, a quarter of all"):
            send(it, "client/c", caller=EVE)
        with pytest.raises(Failed, match="2 mailboxes and none is empty"):
            send(it, "client/c", caller="client/dora")
        it.call("acknowledge", ids[:1], caller="client/a")
        send(it, "client/c")


def totals(it: Any) -> tuple[int, int]:
    [row] = it.run(it.component.db.read("SELECT messages, bytes FROM totals"))
    return row["messages"], row["bytes"]


def test_heads_are_few_and_the_count_of_all_is_right(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        for _ in range(210):
            it.call("acknowledge", [send(it, body="x" * 100)], caller=BOB)
        messages, size = totals(it)
        assert messages == 200 and size == 200 * 512
        [row] = it.run(it.component.db.read("SELECT count(*) AS n, sum(bytes) AS b FROM messages"))
        assert (row["n"], row["b"]) == (messages, size)


def put(it: Any, name: str, data: bytes, caller: str = ANNA) -> dict[str, Any]:
    about = (name, len(data), hashlib.sha256(data).hexdigest())
    begun = it.call("begin_put", *about, caller=caller)
    if not begun["done"]:
        done = it.upload("go_on_put", data[begun["offset"] :], *about, begun["offset"], caller=caller)
        assert done == {"offset": len(data), "done": True}
    return {"name": name, "size": about[1], "sha256": about[2]}


def test_an_attachment_goes_on_where_it_broke_and_is_its_message_s(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    about = ("a.bin", len(data), hashlib.sha256(data).hexdigest())
    with service(tmp_path) as it:
        assert it.call("begin_put", *about, caller=ANNA) == {"offset": 0, "done": False}
        with pytest.raises(Conflict, match="is not here as a whole"):
            send(it, attachments=[{"name": "a.bin", "size": about[1], "sha256": about[2]}])
        some = it.upload("go_on_put", data[:200_000], *about, 0, caller=ANNA)
        assert some == {"offset": 200_000, "done": False}
    with service(tmp_path) as it:
        assert it.call("begin_put", *about, caller=ANNA) == {"offset": 200_000, "done": False}
        assert it.call("begin_put", *about, caller=EVE)["offset"] == 0, "what another has sent is not told"
        with pytest.raises(Conflict, match="does not go on at 5"):
            it.upload("go_on_put", b"x", *about, 5, caller=ANNA)
        it.upload("go_on_put", data[200_000:], *about, 200_000, caller=ANNA)
        id = send(it, attachments=[{"name": "a.bin", "size": about[1], "sha256": about[2]}])
        assert it.call("stat", f"{id}/a.bin", caller=BOB) == {"size_bytes": about[1], "sha256": about[2]}
        assert b"".join(it.stream("read_stream", f"{id}/a.bin", 1000, caller=BOB)) == data[1000:]
        with pytest.raises(NotFound):
            it.call("stat", f"{id}/a.bin", caller=EVE)
        with pytest.raises(NotFound):
            it.call("stat", "../../a.bin", caller=BOB)
        before = totals(it)[1]
        it.call("acknowledge", [id], caller=BOB)
        assert totals(it)[1] < before - len(data), "with the last reader its bytes go"


def test_wrong_bytes_are_no_attachment(tmp_path: Path) -> None:
    about = ("a.bin", 3, hashlib.sha256(b"abc").hexdigest())
    with service(tmp_path) as it:
        it.call("begin_put", *about, caller=ANNA)
        with pytest.raises(Conflict, match="other SHA-256"):
            it.upload("go_on_put", b"abd", *about, 0, caller=ANNA)
        assert it.call("begin_put", *about, caller=ANNA)["offset"] == 0
        with pytest.raises(Conflict, match="more bytes came"):
            it.upload("go_on_put", b"abcd", *about, 0, caller=ANNA)
        with pytest.raises(Failed, match="attachment_mb"):
            it.call("begin_put", "a", 33 << 20, about[2], caller=ANNA)


def test_crumbs_are_no_attachment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsrt.loops.external.content_tables.SPARE_PIECES", 8)
    about = ("a.bin", 1000, "0" * 64)
    with service(tmp_path) as it:
        it.call("begin_put", *about, caller=ANNA)
        for at in range(8):
            it.upload("go_on_put", b"x", *about, at, caller=ANNA)
        with pytest.raises(Failed, match="too many small pieces"):
            it.upload("go_on_put", b"x", *about, 8, caller=ANNA)
        assert it.call("begin_put", *about, caller=ANNA)["offset"] == 0
        assert totals(it) == (0, 1000)


def test_a_host_speaks_for_its_own_alone(tmp_path: Path) -> None:
    with service(tmp_path, **HOSTS) as it:
        assert deliver(it, envelope(it)) == ["kept"]
        forged = {
            "signature": deliver(it, envelope(it), key=Ed25519PrivateKey.generate()),
            "its sender is not of attic": deliver(it, envelope(it, sender="client/carl@cellar")),
            "is not of attic": deliver(it, envelope(it, sender=BOB)),
            "field to": deliver(it, envelope(it, to="client/x@cellar")),
            "expired": deliver(it, envelope(it, expires_ms=1)),
            "field priority": deliver(it, envelope(it, priority=10)),
            "field body": deliver(it, envelope(it, body="x" * 65537)),
        }
        for word, [said] in forged.items():
            assert said.startswith("refused: ") and word in said, (word, said)
        assert [one["from"] for one in inbox(it)] == ["client/carl@attic"]
        with pytest.raises(Denied, match="client/eve is no host here"):
            it.call("deliver", [], caller=EVE)
        with pytest.raises(Denied, match="this client is the host attic"):
            send(it, caller=ATTIC)


def test_what_a_host_hands_in_again_is_known_until_it_has_heard(tmp_path: Path) -> None:
    with service(tmp_path, **HOSTS) as it:
        one = envelope(it)
        assert deliver(it, one) == deliver(it, one) == ["kept"]
        assert len(inbox(it)) == 1
        it.call("acknowledge", [one.id], caller=BOB)
        assert deliver(it, one) == ["kept"] and inbox(it) == []
        deliver(it, heard=[one.id])
        assert it.run(it.component.db.read("SELECT * FROM seen")) == []


def test_full_mailboxes_of_a_batch_are_later_and_the_rest_is_kept(tmp_path: Path) -> None:
    with service(tmp_path, mailbox_messages=2, **HOSTS) as it:
        first, second, third = envelope(it), envelope(it), envelope(it, to=EVE)
        said = deliver(it, first, second, third)
        assert said[0] == said[2] == "kept" and said[1].startswith("later: 1 messages of attic are in the mailbox")
        lost = envelope(it, attachments=(Attached("a", 1, "0" * 64),), to=ANNA)
        assert deliver(it, lost) == ["later: the attachment a is not here as a whole: send it first"]
        assert inbox(it, ANNA) == []


WAY = {**HOSTS, "hosts": {"attic": {"client": ATTIC, "key": PUBLIC, "secret": "host"}}}


class Wayless(ClockedMessages):
    """A way to a host that is never tried."""

    def _link(self, name: str, secret: str) -> Any:
        class Link:
            away = "it is switched off"

            def wake(self) -> None: ...
            def hurry(self) -> None: ...
            async def close(self) -> None: ...
            async def pump(self) -> None:
                import asyncio

                await asyncio.Event().wait()

        link = Link()
        link.name = name  # type: ignore[attr-defined]
        return link


@contextmanager
def with_way(folder: Path, **options: Any) -> Iterator[Any]:
    with running_sync(
        Wayless, options={**WAY, **options}, state=folder, address="external/messages", needs=NEEDS,
        events=FakeEvents(),
    ) as it:  # fmt: skip
        yield it


def batch(it: Any) -> list[Any]:
    found: list[Any] = it.run(it.component.db.query(it.component._outgoing.batch, "attic", it.component.wall_ms()))
    return found


def test_what_goes_to_a_host_has_the_sender_and_one_hop_more(tmp_path: Path) -> None:
    with with_way(tmp_path) as it:
        low, high = send(it, "client/carl@attic", priority=1), send(it, "client/carl@attic", priority=8)
        assert [one.envelope.id for one in batch(it)] == [high, low]
        first = batch(it)[0].envelope
        assert (first.sender, first.to, first.hops) == ("client/anna@kettle", "client/carl", 1)
        assert states(it, low) == ["waiting"]
        shown = it.call("outbox", caller=ANNA)
        assert shown["hosts"] == {"attic": "it is switched off"} and len(shown["messages"]) == 2
        assert it.call("outbox", caller=EVE)["messages"] == []
        assert len(it.call("outbox", caller="client/admin")["messages"]) == 2
        with pytest.raises(NotFound):
            it.call("drop", low, caller=EVE)
        assert it.call("drop", low, caller=ANNA) == 1 and len(batch(it)) == 1
        assert it.call("retry", high, caller=ANNA) == ["attic"]


def test_a_mailbox_that_is_sent_on_names_who_wrote_it_and_a_loop_ends(tmp_path: Path) -> None:
    with with_way(tmp_path, forwards={BOB: "client/bob@attic"}) as it:
        id = send(it)
        [going] = batch(it)
        assert (going.envelope.sender, going.envelope.origin) == ("client/bob@kettle", ANNA)
        assert inbox(it) == []
        # The other host sends it back, by its own rule.
        back = replace(going.envelope, sender="client/bob@attic", to=BOB, hops=2, origin=ANNA)
        assert deliver(it, back) == ["kept"]
        again = replace(back, hops=4)
        assert deliver(it, again) == ["refused: it goes in a loop: it came after 2 hops before, and again now"]
        other = replace(back, id=os.urandom(16).hex(), hops=HOPS)
        [said] = deliver(it, other)
        assert said.startswith("refused: it has gone on to another host 8 times")
        assert states(it, id) == ["waiting"]


def test_a_receipt_counts_from_who_has_got_the_message_alone(tmp_path: Path) -> None:
    with with_way(tmp_path) as it:
        id = send(it, "client/carl@attic")
        [going] = batch(it)
        settle = it.component._outgoing.settle
        outcome = type("O", (), {"position": going.position, "state": "delivered", "error": None, "due_ms": 0})()
        it.run(it.component.db.transaction(settle, [outcome], it.component.wall_ms()))
        assert states(it, id) == ["delivered"]
        receipt = envelope(it, kind=RECEIPT, sender="client/eve@attic", to=ANNA, body="", in_reply_to=id)
        assert deliver(it, receipt) == ["kept"] and states(it, id) == ["delivered"]
        assert deliver(it, replace(receipt, id="0" * 32, sender="client/carl@attic")) == ["kept"]
        assert states(it, id) == ["read"]
        theirs = envelope(it)
        deliver(it, theirs)
        it.call("read", theirs.id, caller=BOB)
        [told] = batch(it)
        assert (told.envelope.kind, told.envelope.in_reply_to) == (RECEIPT, theirs.id)
        assert (told.envelope.sender, told.envelope.to) == ("client/bob@kettle", "client/carl")


def test_what_expired_on_the_way_is_a_dead_letter(tmp_path: Path) -> None:
    with with_way(tmp_path) as it:
        id = send(it, "client/carl@attic", expires_s=60)
        ClockedMessages.ahead_ms = 2 * MINUTE_MS
        for _ in range(2):
            it.run(it.component.db.transaction(it.component._tables.pass_time, it.component.wall_ms()))
        [dead] = it.call("outbox", caller=ANNA)["messages"]
        assert (dead["id"], dead["state"]) == (id, "dead") and dead["error"].startswith("it expired: ")
        with pytest.raises(Conflict, match="has expired"):
            it.call("retry", id, caller=ANNA)
        ClockedMessages.ahead_ms += 31 * 86_400_000
        it.run(it.component.db.transaction(it.component._tables.pass_time, it.component.wall_ms()))
        assert it.call("outbox", caller=ANNA)["messages"] == [] and totals(it) == (0, 0)


def test_watches_have_a_number(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        send(it)
        items = [it.stream("watch", caller=BOB) for _ in range(16)]
        assert [next(one)["body"] for one in items] == ["hello"] * 16
        with pytest.raises(Busy, match="16 watches of client/bob"):
            next(it.stream("watch", caller=BOB))
        for one in items:
            one.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hosts": {"attic": {}}}, "say how they call this host"),
        ({"name": "kettle", "hosts": {"attic": {"client": ATTIC}}}, "its key must be set"),
        ({"name": "kettle", "hosts": {"attic": {"key": "xyz"}}}, "write the 64 digits"),
        ({"forwards": {BOB: "client/bob@attic"}}, "at one of `hosts`"),
        ({"groups": {"a": ["group/b"]}}, "is no address"),
        ({"name": "A b"}, "is no name of a host"),
        ({**WAY}, "there is no way to host attic: `tlsrt-supervisor secret"),
    ],
)
def test_a_wrong_option_is_told(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises((MisuseError, CallError, ValueError, Exception), match=words), service(tmp_path, **options):
        pass


def test_messages_of_one_id_are_acknowledged_by_their_positions(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        for caller in (ANNA, EVE):
            send(it, caller=caller, body=caller, id="a" * 32)
        first, second = sorted(inbox(it), key=lambda one: int(one["position"]))
        assert it.call("acknowledge", positions=[second["position"], 10_000], caller=BOB) == 1
        assert it.call("acknowledge", positions=[first["position"]], caller=EVE) == 0  # not her mailbox
        assert [one["from"] for one in inbox(it)] == [ANNA]
