"""A component that is called later, one that puts calls to it off, and one that was captured and forges jobs."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from typing import Any

from tlsrt import Component, handler
from tlsrt.channels.clock import boottime_ms
from tlsrt.loops.runtime.process import LoopProcess


class Kettle(Component):
    """Writes down each run, and who is its caller, before it does anything else."""

    async def start(self) -> None:
        self._lines = os.open(self.state / "boiled", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _note(self, text: str) -> None:
        os.write(self._lines, f"{self.caller} {text}\n".encode())

    @handler
    async def boil(self, name: str, hold_s: float = 0.0) -> str:
        """Boil once."""
        self._note(name)
        await asyncio.sleep(hold_s)
        return name

    @handler
    async def drip(self) -> AsyncIterator[int]:
        """Give one drop."""
        yield 1

    @handler
    async def boiled(self) -> list[str]:
        return (self.state / "boiled").read_text().splitlines()


class Cook(Component):
    """Puts calls off itself."""

    @handler
    async def plan(self, when: str, name: str) -> list[dict[str, Any]]:
        job = await self.put_off(when, "third/kettle", "boil", name)
        return [dict(one) for one in await self.list_jobs() if one.get("id") == job]


class Captured(Component):
    """Does with its process what code injected into it could do."""

    async def start(self) -> None:
        self._process: Any = next(thing for thing in gc.get_objects() if isinstance(thing, LoopProcess))
        self._number = 1 << 40

    @handler
    async def touch(self) -> None:
        """Take a call, so that the caller's session is known here."""

    @handler
    async def forge(self, subject: str, method: str) -> list[Any]:
        """Make up a job in the name of a caller; return what the authority answers."""
        endpoint = self._process.hosts[self.address].endpoint
        session = next(iter(endpoint.heard.of_subjects(subject)))
        return await self._say(session, self.address, method)

    @handler
    async def reach(self, subject: str, target: str) -> None:
        """Make up a job at another component."""
        await self._say(bytes(16), target, "boil")

    async def _say(self, session: bytes, target: str, method: str) -> list[Any]:
        self._number += 1
        answer = self._process._jobs._asked[self._number] = asyncio.get_running_loop().create_future()
        self._process.trust.send(
            "job_put", self._number, target, session, method, os.urandom(8), "+1", "once", b"\x93\x90\x80\xc0",
            boottime_ms() + 20_000, self._process.authority.committed, 77, bytes(16), b"",
        )  # fmt: skip
        try:
            async with asyncio.timeout(5):
                return list(await answer)
        except TimeoutError:
            return ["silence"]
        except Exception as error:
            return [type(error).__name__, str(error)]
