"""A carrier with an attacker in its process: external/mqtt as it comes, and all that injected code could do there."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

from captured.attacker import Captured  # type: ignore[import-not-found]  # as the host's loops import it
from tlsrt import CallError, handler
from tlsrt.loops.external.mqtt import Mqtt


class CapturedMqtt(Captured, Mqtt):  # type: ignore[misc]  # as above
    """Carries messages, and does what it is told."""

    async def start(self) -> None:
        await Captured.start(self)
        await Mqtt.start(self)

    @handler
    async def ask(self, target: str, method: str, words: list[Any], named: dict[str, Any] = {}) -> str:  # noqa: B006
        """Call a method as this component."""
        try:
            return str(await self.call(target, method, *words, **named))
        except CallError as error:
            return f"{error.code}: {error.message}"

    @handler
    async def watched(self, words: list[Any]) -> list[str]:
        """Return what a watch shows from its begin until a message to itself has come, and for a moment after."""
        shown: list[str] = []
        watching = aiter(self.stream("external/messages", "watch", *words))
        following = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)  # it is asked for before the message is sent
        await self.call("external/messages", "send", self.address, "to itself", topic="safe")
        try:
            while True:
                async with asyncio.timeout(0.3 if shown else 10):
                    one = await following
                shown.append(f"{one['from']}: {one['body']}")
                following = asyncio.ensure_future(anext(watching))
        except TimeoutError:
            return shown

    @handler
    async def reach(self, family: str, kind: str, address: list[Any]) -> str:
        """Open a socket to an address; return the name of the error, or that it is open."""
        try:
            with socket.socket(getattr(socket, family), getattr(socket, kind)) as made:
                made.settimeout(5)
                made.connect(tuple(address) if family != "AF_UNIX" else address[0])
                made.send(b"x")
        except TimeoutError:
            return "TIMEOUT"
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "open"

    @handler
    async def listen(self, kind: str, address: list[Any]) -> str:
        """Take a port; return the name of the error, or that it is taken."""
        try:
            with socket.socket(socket.AF_INET, getattr(socket, kind)) as made:
                made.bind(tuple(address))
                if kind == "SOCK_STREAM":
                    made.listen()
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "taken"

    @handler
    async def look(self, path: str) -> str:
        """Read a file or a folder; return the name of the error, or how much was read."""
        try:
            if os.path.isdir(path):
                return f"read {len(os.listdir(path))}"
            with open(path, "rb") as file:
                return f"read {len(file.read(64))}"
        except OSError as error:
            return errno.errorcode[error.errno or 0]
