"""`external/xmpp` without a host, with one person and their mailbox, at a server that lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fakes.lying_xmpp_server import DOMAIN, OWN, PASSWORD, LyingXmppServer

from tlsrt.errors import Failed
from tlsrt.loops.external.xmpp import Xmpp
from tlsrt.testing import running

ANNA = f"anna@{DOMAIN}"
LIMIT_S = 30.0


class Mail:
    """The mailbox of the carrier."""

    def __init__(self) -> None:
        self.box: list[dict[str, Any]] = []
        self.acknowledged: list[int] = []
        self.sent: list[tuple[str, str]] = []
        self.is_full = False

    def put(self, body: str) -> None:
        position = len(self.box) + 1
        self.box.append({
            "id": f"{position:032x}", "from": "client/bob", "to": "external/xmpp", "topic": "anna", "body": body,
            "content_type": "text/plain", "created_ms": 1, "expires_ms": 1 << 52, "in_reply_to": None,
            "attachments": [], "position": position,
        })  # fmt: skip

    async def watch(self, after: int, topic: str | None) -> AsyncIterator[dict[str, Any]]:
        at = 0
        while True:
            while at < len(self.box):
                at += 1
                if self.box[at - 1]["position"] not in self.acknowledged:
                    yield self.box[at - 1]
            await asyncio.sleep(0.01)

    def acknowledge(self, positions: list[int]) -> int:
        self.acknowledged += positions
        return len(positions)

    def send(self, to: str, body: str, **more: Any) -> dict[str, Any]:
        if self.is_full:
            raise Failed("the mailbox of client/anna is full")
        self.sent.append((to, body))
        return {"id": more["id"]}


async def until(what: Callable[[], Any]) -> Any:
    async with asyncio.timeout(LIMIT_S):
        while not (found := what()):
            await asyncio.sleep(0.01)
        return found


@asynccontextmanager
async def carrier(server: LyingXmppServer, mail: Mail, state: Path | None = None, **more: Any) -> AsyncIterator[Any]:
    options = {
        "jid": OWN, "server": f"127.0.0.1:{server.port}", "ca": server.ca, "retry_s": 1,
        "people": {"anna": {"jid": ANNA, "to": "client/anna"}}, **more,
    }  # fmt: skip
    async with running(
        Xmpp, options=options, secrets={"password": PASSWORD.encode()}, peers={"external/messages": mail},
        needs={"state_mb": 64, "threads": 4}, address="external/xmpp", state=state,
    ) as made:  # fmt: skip
        yield made


async def why(made: Any, words: str) -> str:
    """Wait until the carrier says why it is not connected."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            away = (await made.call("people"))["anna"]["away"] or ""
            if any(one in away for one in words.split("|")):
                return str(away)
            await asyncio.sleep(0.01)
