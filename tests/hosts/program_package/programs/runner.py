"""A component that has its programs run as it is told, and a captured one that abuses its life channel."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

from tlsrt import Component, ProgramError, handler
from tlsrt.loops.runtime.programs import ProcessPrograms


class Runner(Component):
    """What an honest component does with programs."""

    @handler
    async def once(self, name: str, arguments: list[str], data: bytes = b"") -> dict[str, Any]:
        """Run a program to its end; say how it ended."""
        try:
            found = await self.run(name, *arguments, input=data)
        except ProgramError as error:
            return {"outcome": error.outcome, "status": error.status, "stderr": error.stderr, "says": str(error)}
        return {"outcome": "ended", "status": found.status, "stdout": found.stdout, "stderr": found.stderr}

    @handler
    async def convert(self, name: str, arguments: list[str], data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass an upload through a program."""
        async with self.program(name, *arguments) as running:
            running.feed(data)
            async for piece in running:
                yield piece
            await running.wait()

    @handler
    async def hold(self, name: str, arguments: list[str]) -> AsyncIterator[str]:
        """Keep a program running; give what it says."""
        async with self.program(name, *arguments) as running:
            async for piece in running:
                yield piece.decode()
            yield f"status {await running.wait()}"

    @handler
    async def many(self, name: str, arguments: list[str], count: int) -> dict[str, Any]:
        """Ask for many runs at once; say how many ended with 0, and how long each took at most."""
        start = time.monotonic()
        found = await asyncio.gather(*(self.run(name, *arguments) for _ in range(count)), return_exceptions=True)
        good = [one for one in found if not isinstance(one, BaseException) and one.status == 0]
        return {"good": len(good), "seconds": time.monotonic() - start, "other": [repr(one) for one in found][:3]}

    @handler
    async def birth(self, name: str, arguments: list[str], count: int) -> list[float]:
        """Run a program again and again; return how long each run took, in ms."""
        taken: list[float] = []
        for _ in range(count):
            start = time.perf_counter()
            await self.run(name, *arguments)
            taken.append((time.perf_counter() - start) * 1000)
            await asyncio.sleep(0.06)
        return taken

    @handler
    async def throughput(self, name: str, arguments: list[str], megabytes: int) -> dict[str, float]:
        """Pass so much through a program and back; return MB/s."""
        piece = bytes(1 << 20)
        async with self.program(name, *arguments) as running:

            async def feed() -> None:
                for _ in range(megabytes):
                    await running.write(piece)
                await running.end_input()

            start = time.perf_counter()
            feeding = asyncio.get_running_loop().create_task(feed())
            count = 0
            while data := await running.read(1 << 18):
                count += len(data)
            await feeding
            await running.wait()
            return {"bytes": float(count), "mb_s": count / (time.perf_counter() - start) / 1e6}


def _programs() -> ProcessPrograms:
    """Return what holds the life channel of this process, as foreign code finds it."""
    return next(one for one in gc.get_objects() if isinstance(one, ProcessPrograms))


class Captured(Runner):
    """A component that an attacker runs code in."""

    @handler
    async def ask(self, number: int, times: int = 1) -> str:
        """Ask for a program on the life channel itself, past all that the SDK waits for."""
        life = _programs()._life
        for _ in range(times):
            life.send("run", number)
        return "sent"

    @handler
    async def flood(self, number: int, per_second: int, seconds: float) -> int:
        """Ask so often for so long, and let go of all that comes."""
        programs = _programs()
        loop = asyncio.get_running_loop()
        end, sent = loop.time() + seconds, 0
        queue = programs._programs[number]
        while loop.time() < end:
            future: asyncio.Future[Any] = loop.create_future()
            future.cancel()
            queue.asked.append(future)
            programs._life.send("run", number)
            sent += 1
            await asyncio.sleep(1 / per_second)
        return sent

    @handler
    async def raw(self, name: str, request: bytes, is_ended: bool) -> dict[str, Any]:
        """Write these bytes where the launcher reads its arguments."""
        pipes = await self._tlsrt_programs.begin(name)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(pipes.data, request)
        if is_ended:
            pipes.data.shutdown(socket.SHUT_WR)
        start = loop.time()
        said = b""
        while piece := await loop.sock_recv(pipes.errors, 4096):
            said += piece
        outcome, status = await pipes.over
        for one in (pipes.data, pipes.errors, pipes.leash):
            one.close()
        return {"outcome": int(outcome), "status": status, "said": said.decode(), "seconds": loop.time() - start}

    @handler
    async def keep(self, name: str, arguments: list[str]) -> int:
        """Begin a program and keep it, with all descriptors; return how many run."""
        running = self.program(name, *arguments)
        await running.__aenter__()
        self._kept = [*getattr(self, "_kept", []), running]
        return len(self._kept)

    @handler
    async def pass_on(self, name: str, arguments: list[str]) -> str:
        """Try to give a program's descriptor to another process."""
        async with self.program(name, *arguments) as running:
            one, other = socket.socketpair()
            try:
                socket.send_fds(one, [b"x"], [running._running().data.fileno()])
            except OSError as error:
                return f"{type(error).__name__} {error.errno}"
            finally:
                one.close()
                other.close()
        return "passed on"

    @handler
    async def write_to(self, path: str) -> str:
        """Try to change what will be executed."""
        try:
            os.close(os.open(path, os.O_WRONLY))
        except OSError as error:
            return type(error).__name__
        return "opened"

    @handler
    async def stop_self(self) -> None:
        """Stop answering, with programs that run."""
        time.sleep(60)
