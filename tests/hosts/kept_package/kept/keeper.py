"""A component that keeps its programs running, and tells what it hears of them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

from tlsrt import Component, KeptProgram, Program, handler


class Keeper(Component):
    """Keeps running what its option `keep` lists, as [name, argument, ...]."""

    @dataclass(frozen=True)
    class Options:
        keep: list[list[str]]
        hears: list[str] = field(default_factory=list[str])

    async def start(self) -> None:
        self.heard: dict[str, list[bytes]] = {}
        self.kept: dict[str, KeptProgram] = {}
        for name, *arguments in self.options.keep:
            notices = name in self.options.hears
            serve = self._hear if notices else None
            self.kept[name] = self.keep_running(name, *arguments, serve=serve)

    async def _hear(self, run: Program) -> None:
        async for notice in run.notices():
            self.heard.setdefault(run.name, []).append(notice)

    @handler
    async def state_of(self, name: str) -> dict[str, Any]:
        """Tell how a program is."""
        kept = self.kept[name]
        number = kept.run.number if kept.run is not None else 0
        return {"state": kept.state, "number": number, "restarts": kept.restarts, "last": kept.last}

    @handler
    async def say(self, name: str, text: str) -> str:
        """Write a line to a program's descriptor 3, and return the one that it answers."""
        run = self.kept[name].run
        assert run is not None
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(run.talk, text.encode() + b"\n")
        said = b""
        while not said.endswith(b"\n"):
            piece = await loop.sock_recv(run.talk, 4096)
            if not piece:
                return "closed"
            said += piece
        return said.decode()

    @handler
    async def can_see(self, path: str) -> bool:
        """Tell whether there is such a path for this process."""
        return os.path.exists(path)

    @handler
    async def end(self, name: str) -> None:
        """End a run; the next one begins."""
        self.kept[name].restart("the test asks for it")

    @handler
    async def notices(self, name: str) -> list[bytes]:
        """Return what a program has said in NOTIFY_SOCKET."""
        return self.heard.get(name, [])
