"""Workers of a sealed component: the test runs them as plain processes, and hands over their sockets.

sealed process --- the name of a worker ---> test
               <--- its number, and data, errors and leash as descriptors; or why there is none ---
               <--- how one has ended ---
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.errors import MisuseError, Unavailable
from tlsrt.loops.component.program import Pipes
from tlsrt.loops.component.worker_pool import WorkerLimits
from tlsrt.testing.workers import PlainPrograms
from tlsrt.text import printable

_BYTES = 4096
_LINE_MOST = 400


class HandedWorkers:
    """In the test: begins workers for a sealed process."""

    def __init__(self, programs: PlainPrograms) -> None:
        self._programs = programs
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ours.setblocking(False)
        asyncio.get_running_loop().add_reader(self._ours, self._read)

    async def close(self) -> None:
        """Wait until all have ended: the process that held their leashes is gone."""
        asyncio.get_running_loop().remove_reader(self._ours)
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._ours.close()
        await self._programs.close()

    def _read(self) -> None:
        data = self._ours.recv(_BYTES)
        if not data:
            asyncio.get_running_loop().remove_reader(self._ours)
            return
        task = asyncio.get_running_loop().create_task(self._run(json.loads(data)["begin"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, name: str) -> None:
        try:
            pipes = await self._programs.begin(name)
        except OSError as error:
            with suppress(OSError):
                self._ours.send(json.dumps({"failed": f"{error}"[:_LINE_MOST]}).encode())
            return
        handed = [one.fileno() for one in (pipes.data, pipes.errors, pipes.leash)]
        with suppress(OSError):  # the process has ended meanwhile
            socket.send_fds(self._ours, [json.dumps({"begun": pipes.number}).encode()], handed)
        pipes.close()
        outcome, detail = await pipes.over
        with suppress(OSError):
            self._ours.send(json.dumps({"over": pipes.number, "outcome": [outcome, detail]}).encode())


class AskedWorkers:
    """In the sealed process: what has workers run for its component."""

    def __init__(self, descriptor: int, limits: Mapping[str, WorkerLimits], log: logging.Logger) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._limits = limits
        self._log = log
        self._asked: deque[asyncio.Future[Pipes]] = deque()
        self._over: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._is_heard = False

    def worker(self, name: str) -> WorkerLimits:
        if name not in self._limits:
            raise MisuseError(f"no worker {name!r} is declared: give `programs` to `running`, or declare it")
        return self._limits[name]

    async def begin(self, name: str) -> Pipes:
        if name not in self._limits:
            raise MisuseError(f"no program {name!r} can be run here: there is no host")
        loop = asyncio.get_running_loop()
        if not self._is_heard:
            self._is_heard = True
            loop.add_reader(self._socket, self._read)
        begun: asyncio.Future[Pipes] = loop.create_future()
        self._asked.append(begun)
        self._socket.send(json.dumps({"begin": name}).encode())
        return await begun

    def secrets(self, name: str) -> bytes:
        return b""

    def log(self, name: str, number: int, lines: Sequence[bytes]) -> None:
        for line in lines:
            self._log.info("%s #%s: %s", name, number, printable(line.decode("utf-8", "backslashreplace"), _LINE_MOST))

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _BYTES, 3, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:  # its end had not read all
            data, descriptors = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(self._socket)
            for waiting in self._asked:
                if not waiting.done():  # it was given up
                    waiting.set_exception(Unavailable("the test has ended"))
            for running in self._over.values():
                if not running.done():
                    running.set_result((Outcome.CANCELLED, 0))
            return
        news: dict[str, Any] = json.loads(data)
        if "over" in news:
            outcome, detail = news["outcome"]
            ended = self._over.pop(news["over"])
            if not ended.done():
                ended.set_result((Outcome(outcome), detail))
            return
        begun = self._asked.popleft()
        if "failed" in news:
            if not begun.done():
                begun.set_exception(Unavailable(f"cannot begin a worker: {news['failed']}"))
            return
        number: int = news["begun"]
        over = self._over[number] = asyncio.get_running_loop().create_future()
        handed = [socket.socket(fileno=one) for one in descriptors]
        for one in handed:
            one.setblocking(False)
        pipes = Pipes(number, handed[0], handed[1], handed[2], over)
        if begun.done():  # it was given up
            pipes.close()
        else:
            begun.set_result(pipes)
