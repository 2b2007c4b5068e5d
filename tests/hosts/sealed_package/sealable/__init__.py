"""Components for sealed tests: one that behaves, and one that makes the calls that libraries make."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from tlsrt import Component, handler


class Lamp(Component):
    """Behaves."""

    async def start(self) -> None:
        (self.state / "started").write_text("yes")
        if self.options.get("broken"):
            raise ValueError("no bulb")

    @handler
    async def shine(self, seconds: int) -> str:
        return f"{seconds} s for {self.caller}, in process {os.getpid()}"

    @handler
    async def blink(self, times: int) -> AsyncIterator[int]:
        for number in range(times):
            yield number

    @handler
    async def swallow(self, data: AsyncIterator[bytes]) -> int:
        return sum([len(part) async for part in data])

    @handler
    async def kernel(self) -> str:
        return str((await self.call("primary/kernel", "uname"))["release"])

    @handler
    async def socket(self) -> str:
        return _outcome(lambda: socket.socket(socket.AF_INET))

    @handler
    async def read(self, path: str) -> str:
        return _outcome(lambda: Path(path).read_bytes())

    @handler
    async def late_part(self, name: str) -> bool:
        """Import a part of a package when it is used, as many libraries do."""
        return bool(__import__(name))

    @handler
    async def late(self) -> str:
        import colorsys

        return colorsys.__name__

    @handler
    async def execute(self) -> None:
        os.execv("/bin/true", ["true"])

    @handler
    async def thread(self) -> str:
        threading.Thread(target=lambda: None).start()
        return "started"


def _outcome(act: object) -> str:
    try:
        act()  # type: ignore[operator]
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "allowed"
