"""The way to a host that lies or breaks off: what is not answered rightly waits, and nothing else breaks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.errors import Unavailable
from tlsrt.loops.external.host_link import HostLink
from tlsrt.loops.external.message import opened_untrusted
from tlsrt.loops.external.messages import Messages
from tlsrt.testing import FakeEvents, running

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
NEEDS = {
    "state_mb": 64, "threads": 2,
    "secrets": [{"name": name, "why": "x", "optional": True} for name in ("signing", "host")],
    "alerts": [{"name": name, "why": "x"} for name in ("forged", "undeliverable")],
}  # fmt: skip
PUBLIC = KEY.public_key().public_bytes_raw().hex()
OPTIONS = {"name": "kettle", "hosts": {"attic": {"secret": "host", "key": PUBLIC}}, "retry_s": 1}
ANNA = "client/anna"
Answer = Callable[[list[Any]], Any]


class Host:
    """Another host, as a client of it sees it: `answer` is what it says to `deliver`."""

    def __init__(self) -> None:
        self.answer: Answer = lambda envelopes: [{"state": "kept", "reason": None} for _ in envelopes]
        self.begun: Any = {"offset": 0, "done": False}
        self.put: Any = {"offset": 3, "done": True}
        self.connected = False
        self.heard: list[str] = []
        self.came: list[str] = []
        self.data = b""

    async def connect(self) -> None:
        self.connected = True

    async def close(self) -> None:
        self.connected = False

    async def call(self, target: str, method: str, *words: Any, timeout_s: float) -> Any:
        if method == "begin_put":
            return self.begun
        envelopes, heard = words
        self.heard += heard
        answer = self.answer(envelopes)
        for content, signature in envelopes:
            self.came.append(opened_untrusted(content, signature, KEY.public_key(), "kettle").id)
        return answer

    async def upload(self, target: str, method: str, data: Any, *words: Any, timeout_s: float) -> Any:
        async for part in data:
            self.data += part
        return self.put


class Linked(Messages):
    """Messages with a way to that host."""

    host: Host

    def _link(self, name: str, secret: str) -> HostLink:
        return HostLink(
            name, lambda: type(self).host, KEY, self.db, self._outgoing, self._contents, 0.02, self.wall_ms,  # type: ignore[arg-type,return-value]
            self._is_dead, self.count, self.log,
        )  # fmt: skip


def run(folder: Path, host: Host, work: Callable[[Any], Any]) -> None:
    kind = type("Linked", (Linked,), {"host": host})

    async def inside() -> None:
        async with running(
            kind, options=OPTIONS, state=folder, address="external/messages", needs=NEEDS, events=FakeEvents()
        ) as it:  # fmt: skip
            async with asyncio.timeout(30):
                await work(it)

    asyncio.run(inside())


async def the_one(it: Any, state: str, word: str = "") -> dict[str, Any]:
    """Wait until the message is in that state with that reason."""
    while True:
        found = (await it.call("outbox", caller=ANNA))["messages"]
        if [one["state"] for one in found] == [state] and word in (found[0]["error"] or ""):
            return dict(found[0])
        await asyncio.sleep(0.01)


def broken(envelopes: list[Any]) -> Any:
    raise Unavailable("it is away")


@pytest.mark.parametrize(
    ("answer", "state", "word"),
    [
        (lambda envelopes: None, "waiting", "does not answer as a host"),
        (lambda envelopes: [], "waiting", "does not answer as a host"),
        (lambda envelopes: {"state": "kept"}, "waiting", "does not answer as a host"),
        (lambda envelopes: ["kept"], "waiting", "attic: later"),
        (lambda envelopes: [{"state": "kept\0"}], "waiting", "attic: later"),
        (lambda envelopes: [{"state": ["kept"], "reason": {"a": 1}}], "waiting", "attic: "),
        (lambda envelopes: [{"state": "later", "reason": "full\x1b[31m\n"}], "waiting", "attic: full [31m "),
        (lambda envelopes: [{"state": "refused", "reason": "x" * 100_000}], "dead", "attic refuses it: xxx"),
        (broken, "waiting", "it is away"),
    ],
)
def test_a_host_that_lies_has_the_message_wait_or_end_with_a_line(
    answer: Answer, state: str, word: str, tmp_path: Path
) -> None:
    host = Host()
    host.answer = answer

    async def work(it: Any) -> None:
        id = (await it.call("send", "client/carl@attic", "x", caller=ANNA))["id"]
        found = await the_one(it, state, word)
        assert len(found["error"]) < 300 and found["error"].isprintable()
        assert (await it.call("send", "client/bob", "others go on", caller=ANNA))["is_new"]
        host.answer = Host().answer
        await it.call("retry", id, caller=ANNA)
        while (await it.call("outbox", caller=ANNA))["messages"]:
            await asyncio.sleep(0.01)

    run(tmp_path, host, work)


def test_a_host_hears_of_its_answers_once_they_are_written(tmp_path: Path) -> None:
    host = Host()

    async def work(it: Any) -> None:
        ids = []
        for _ in range(3):
            ids.append((await it.call("send", "client/carl@attic", "x", caller=ANNA))["id"])
            while host.came != ids:
                await asyncio.sleep(0.01)
            while (await it.call("outbox", caller=ANNA))["messages"]:
                await asyncio.sleep(0.01)
        assert host.heard == ids[:2]

    run(tmp_path, host, work)


@pytest.mark.parametrize(
    ("begun", "put"),
    [
        (None, None), ({"offset": "0"}, None), ({"offset": -1, "done": False}, None),
        ({"offset": 4, "done": False}, None),
        ({"offset": 0, "done": False}, {"offset": 2, "done": False}), ({"offset": 0, "done": False}, []),
    ],
)  # fmt: skip
def test_a_host_that_lies_about_files_gets_the_message_later(begun: Any, put: Any, tmp_path: Path) -> None:
    host = Host()
    host.begun, host.put = begun, put
    about = ("a.bin", 3, hashlib.sha256(b"abc").hexdigest())

    async def work(it: Any) -> None:
        await it.call("begin_put", *about, caller=ANNA)
        await it.upload("go_on_put", b"abc", *about, 0, caller=ANNA)
        one = {"name": "a.bin", "size": 3, "sha256": about[2]}
        await it.call("send", "client/carl@attic", "x", attachments=[one], caller=ANNA)
        await the_one(it, "waiting", "attic ")
        assert host.came == []
        host.begun, host.put, host.data = Host().begun, Host().put, b""
        while not host.came:
            await asyncio.sleep(0.01)
        assert host.data == b"abc"

    run(tmp_path, host, work)
