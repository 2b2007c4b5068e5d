"""Attacked sentence: a mailbox is its owner's, a host speaks for its own alone, and a bomb stays the bomber's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosts.joined_messages import MESSAGES, PROCESS, until
from hosts.running_host import RunningHost

import tlsrt.loops.external
from tlsrt import Client
from tlsrt.errors import CallError, Denied, Failed, InvalidArgument, NotFound
from tlsrt.loops.external.message import Envelope, signed

CAPTURED = "third/captured"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
MANIFEST = Path(tlsrt.loops.external.__file__).parent / "messages.tlsrt.yaml"
CODE = '''
from typing import Any

from tlsrt import CallError, Component, handler


class Captured(Component):
    """Calls what it is told to."""

    @handler
    async def ask(self, method: str, words: list[Any]) -> str:
        try:
            return str(await self.call("external/messages", method, *words))
        except CallError as error:
            return f"{error.code}: {error.message}"
'''


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    package = tmp_path_factory.mktemp("package") / "captured_mail"
    package.mkdir()
    (package / "__init__.py").write_text(CODE)
    manifest = yaml.safe_load(MANIFEST.read_text())
    attic = {"client": "client/attic", "key": KEY.public_key().public_bytes_raw().hex()}
    options = {"name": "kettle", "hosts": {"attic": attic}, "mailbox_messages": 40, "messages": 400, "total_mb": 8}
    made = RunningHost(
        components={
            MESSAGES: {"class": manifest["class"], "needs": manifest["needs"], "options": options},
            CAPTURED: {"class": "captured_mail:Captured"},
        },
        clients=["anna", "bob", "eve", "attic"], packages=[package],
        policy={
            **{f"client/{name} -> {MESSAGES}": "*" for name in ("admin", "anna", "bob", "eve", "attic")},
            f"{CAPTURED} -> {MESSAGES}": "*", f"client/admin -> {CAPTURED}": "*",
        },
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


def test_a_captured_component_reads_and_changes_no_mailbox_but_its_own(host: RunningHost) -> None:
    with host.client("anna") as anna, host.client("bob") as bob, host.client() as admin:
        id = anna.call(MESSAGES, "send", "client/bob", "the code of the safe is 1234")["id"]
        tries: list[tuple[str, list[Any]]] = [
            ("inbox", []), ("inbox", [100, 0]), ("read", [id]), ("read", [id[:4]]), ("acknowledge", [[id]]),
            ("sent", []), ("outbox", []), ("drop", [id]), ("retry", [id]), ("stat", [f"{id}/a"]),
            ("read_stream", [f"{id}/../a"]), ("deliver", [[], [id]]), ("read", ["%" * 8]), ("inbox", [100, 0, "%"]),
            ("send", ["client/eve", "I am anna", "x", None, None, 4, None, None, id]),
        ]  # fmt: skip
        for method, words in tries:
            said = admin.call(CAPTURED, "ask", method, words)
            assert "1234" not in said and "client/anna" not in said, (method, words, said)
        [found] = bob.call(MESSAGES, "inbox")["messages"]
        assert (found["id"], found["state"], found["from"]) == (id, "new", "client/anna")
        with host.client("eve") as eve:
            [theirs] = eve.call(MESSAGES, "inbox")["messages"]
            assert theirs["from"] == CAPTURED, "it speaks as itself"
            eve.call(MESSAGES, "acknowledge", [theirs["id"]])
        bob.call(MESSAGES, "acknowledge", [id])


def test_a_captured_host_speaks_for_its_own_alone_and_that_is_told(host: RunningHost) -> None:
    now = time.time_ns() // 1_000_000
    good = Envelope(
        os.urandom(16).hex(), "message", "client/carl@attic", "client/bob", "", "text/plain", "x", now, now + 600_000,
        4, "", (), 1, "",
    )  # fmt: skip
    with host.client("attic") as attic, host.client("bob") as bob:
        forged = [
            signed(replace(good, sender="client/anna"), KEY), signed(replace(good, sender="client/anna@kettle"), KEY),
            signed(replace(good, sender="client/anna@cellar"), KEY), signed(good, Ed25519PrivateKey.generate()),
            (b"", b""), (b"\xff" * 1000, bytes(64)), (signed(good, KEY)[0], bytes(64)),
        ]  # fmt: skip
        answers = attic.call(MESSAGES, "deliver", [list(one) for one in forged])
        assert [one["state"] for one in answers] == ["refused"] * len(forged)
        assert bob.call(MESSAGES, "inbox")["messages"] == []
        for method, words in (
            ("send", ["client/bob", "x"]), ("deliver", [[[b"", b""]] * 33]), ("deliver", [[[b""]]]), ("inbox", [0]),
        ):  # fmt: skip
            with pytest.raises((Denied, InvalidArgument)):
                attic.call(MESSAGES, method, *words)
        replayed = [list(signed(good, KEY))] * 2
        assert [one["state"] for one in attic.call(MESSAGES, "deliver", replayed)] == ["kept"] * 2
        [found] = bob.call(MESSAGES, "inbox")["messages"]
        assert found["from"] == "client/carl@attic"
        bob.call(MESSAGES, "acknowledge", [good.id])
        assert attic.call(MESSAGES, "deliver", replayed)[0]["state"] == "kept"
        assert bob.call(MESSAGES, "inbox")["messages"] == [], "a replay is no second message"
    with host.client("eve") as eve, pytest.raises(Denied, match="is no host here"):
        eve.call(MESSAGES, "deliver", [list(signed(good, KEY))])
    assert "forged" in host.told("forged")


def begin_many(client: Client) -> None:
    for number in range(80):
        client.call(MESSAGES, "begin_put", f"f{number}", 10, "0" * 64)


def test_a_bomb_is_refused_by_a_sentence_and_stays_the_bomber_s(host: RunningHost) -> None:
    before = psutil.Process(host.loop(PROCESS)["pid"]).memory_full_info().uss
    with host.client("eve") as eve, host.client("anna") as anna, host.client("bob") as bob:
        refused: list[str] = []
        for number in range(400):
            try:
                eve.call(MESSAGES, "send", f"client/{'bob' if number < 100 else f'n{number % 50}'}", "x" * 20_000)
            except Failed as error:
                refused.append(error.message)
        assert len(refused) > 250
        assert any("half of what it may hold" in one for one in refused)
        assert any("it may have a quarter of all" in one for one in refused)
        with pytest.raises(Failed, match="as many messages as it may"):
            eve.call(MESSAGES, "begin_put", "bomb", 30 << 20, "0" * 64)
        with pytest.raises(Failed, match=r"belong to no message yet|quarter of all"):
            begin_many(eve)
        with pytest.raises((InvalidArgument, CallError)):
            eve.call(MESSAGES, "send", "client/bob", "x" * 70_000)
        id = anna.call(MESSAGES, "send", "client/bob", "am I heard?")["id"]
        assert until(lambda: bob.call(MESSAGES, "read", id))["body"] == "am I heard?"
        with pytest.raises(NotFound):
            eve.call(MESSAGES, "read", id)
    after = psutil.Process(host.loop(PROCESS)["pid"]).memory_full_info().uss
    assert after - before < 24 << 20
    assert host.loop(PROCESS)["violations"] == 0
