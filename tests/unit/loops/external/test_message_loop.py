"""Two hosts in one process that send a mailbox on to each other: the message ends as a dead letter at the first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.loops.external.host_link import HostLink
from tlsrt.loops.external.messages import Messages
from tlsrt.testing import FakeEvents, running

NAMES = {"kettle": "attic", "attic": "kettle"}
KEYS = {name: Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number, name in enumerate(NAMES)}
NEEDS = {
    "state_mb": 64, "threads": 2,
    "secrets": [{"name": name, "why": "x", "optional": True} for name in ("signing", "host")],
    "alerts": [{"name": name, "why": "x"} for name in ("forged", "undeliverable")],
}  # fmt: skip


class Way:
    """A client of the other host, as that is in the same process."""

    def __init__(self, own: str, hosts: dict[str, Any]) -> None:
        self.connected = False
        self._own = own
        self._hosts = hosts

    async def connect(self) -> None:
        self.connected = True

    async def close(self) -> None:
        self.connected = False

    async def call(self, target: str, method: str, *words: Any, timeout_s: float) -> Any:
        return await self._hosts[NAMES[self._own]].call(method, *words, caller=f"client/{self._own}")


class Linked(Messages):
    hosts: dict[str, Any]

    def _link(self, name: str, secret: str) -> HostLink:
        own = self.options.name
        return HostLink(
            name, lambda: Way(own, type(self).hosts), KEYS[own], self.db, self._outgoing, self._contents, 0.02,  # type: ignore[arg-type,return-value]
            self.wall_ms, self._is_dead, self.count, self.log,
        )  # fmt: skip


def options(name: str) -> dict[str, Any]:
    other = NAMES[name]
    key = KEYS[other].public_key().public_bytes_raw().hex()
    there = {"client": f"client/{other}", "key": key, "secret": "host"}
    return {"name": name, "hosts": {other: there}, "forwards": {"client/loop": f"client/loop@{other}"}}


async def goes_round(folder: Path) -> None:
    hosts: dict[str, Any] = {}
    kind = type("Linked", (Linked,), {"hosts": hosts})

    def host(name: str) -> Any:
        (folder / name).mkdir()
        return running(
            kind, options=options(name), state=folder / name, address="external/messages", needs=NEEDS,
            events=FakeEvents(),
        )  # fmt: skip

    async with host("kettle") as kettle, host("attic") as attic, asyncio.timeout(30):
        hosts.update(kettle=kettle, attic=attic)
        ids = [(await kettle.call("send", "client/loop", "x", caller="client/anna"))["id"] for _ in range(5)]
        id = (await kettle.call("send", "client/bob@attic", "straight on", caller="client/anna"))["id"]
        dead: list[dict[str, Any]] = []
        while len(dead) < 5:
            found = (await kettle.call("outbox", caller="client/admin"))["messages"]
            dead = [one for one in found if one["state"] == "dead"]
            await asyncio.sleep(0.01)
        assert sorted(one["id"] for one in dead) == sorted(ids)
        assert all("it goes in a loop: it came after 1 hops before" in one["error"] for one in dead), dead
        assert [one["id"] for one in (await attic.call("inbox", caller="client/bob"))["messages"]] == [id]
        assert (await attic.call("outbox", caller="client/admin"))["messages"] == []


def test_a_loop_of_two_hosts_is_a_dead_letter(tmp_path: Path) -> None:
    asyncio.run(goes_round(tmp_path))
