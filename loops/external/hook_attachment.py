"""A body that no message has room for: it goes as the attachment `body` of a message that says so. asyncio.

The signature over all of it has been checked before any of it leaves here. Bodies go one after the other, so the
service of messages holds pieces of one of them. A message that is refused takes its file with it.
"""

from __future__ import annotations

import asyncio
import hashlib

from tlsrt import CallError, Component
from tlsrt.loops.external.carrier import PASSING

MESSAGES = "external/messages"
NAME = "body"


class HookAttachment:
    """Sends large bodies for a component, whose own messages they are."""

    def __init__(self, component: Component) -> None:
        self._component = component
        self._turn = asyncio.Lock()

    async def send(self, to: str, body: bytes, kind: str, topic: str, id: str, within_s: float) -> None:
        """Send a message with a body attached; when this returns both are on the disk. Raises CallError.

        A repetition after an error goes on where it broke, and is the same message.
        """
        about = (NAME, len(body), hashlib.sha256(body).hexdigest())
        call = self._component.call
        async with self._turn:
            begun = await call(MESSAGES, "begin_put", *about, timeout_s=within_s)
            if not begun["done"]:
                at = begun["offset"]
                await self._component.upload(MESSAGES, "go_on_put", body[at:], *about, at, timeout_s=within_s)
            try:
                await call(
                    MESSAGES, "send", to, f"{len(body)} bytes of {kind} are attached as {NAME}", id=id, topic=topic,
                    attachments=[{"name": NAME, "size": about[1], "sha256": about[2]}], timeout_s=within_s,
                )  # fmt: skip
            except CallError as error:
                if not isinstance(error, PASSING):  # else it may be there, and the sender repeats it
                    await self._forget(about)
                raise

    async def _forget(self, about: tuple[str, int, str]) -> None:
        try:
            await self._component.call(MESSAGES, "forget_put", *about)
        except CallError as error:  # it goes by itself after a day
            self._component.log.warning("cannot take back a body that no message has: %s", error.message)
