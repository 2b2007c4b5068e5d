"""The way to run a component sealed: in a process of its own, under the filters and the root that a host would give it.

`SealedRun` starts a supervisor for all sealed tests of a run (sealed_host.py) when the first one asks.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import IO

from tlsrt.errors import ConfigError, MisuseError, Unavailable
from tlsrt.loops.component.component import Component, read_options
from tlsrt.testing.answering import PeerAnswers
from tlsrt.testing.conversation import Conversation
from tlsrt.testing.handed_workers import HandedWorkers
from tlsrt.testing.hosted import PROCESS
from tlsrt.testing.running import ComponentUnderTest, SealedError, Setup
from tlsrt.testing.socket_carrier import SocketCarrier
from tlsrt.testing.workers import PlainPrograms

_PROGRAM = "from tlsrt.supervisor.launch.launcher import inner; from tlsrt.testing.sealed_host import main; inner(main)"
_LAUNCH = f"import sys; from tlsrt.supervisor.launch.launcher import launch; sys.exit(launch([], program={_PROGRAM!r}))"
_INTERPRETER = (sys.executable, "-I", "-B", "-c")
START_S = 30.0


class SealedRun:
    """The supervisor of the sealed tests of this process. `prepare` is called in its child, before the interpreter."""

    def __init__(self, prepare: Callable[[], None] | None = None) -> None:
        self._prepare = prepare
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def send(self, request: Mapping[str, object], descriptors: list[int]) -> None:
        """Ask for a process."""
        if self._requests is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-B", "-c", _LAUNCH],
                    stdin=theirs.fileno(),
                    preexec_fn=self._prepare,
                    cwd="/",
                )
            self._requests = ours
        socket.send_fds(self._requests, [json.dumps(request).encode()], descriptors)

    def close(self) -> None:
        """End it, and every process of it."""
        if self._requests is not None and self._process is not None:
            self._requests.close()
            self._process.wait(START_S)

    @asynccontextmanager
    async def way(self, setup: Setup, peers: PeerAnswers) -> AsyncIterator[ComponentUnderTest]:
        """Run a component in a sealed process. Raises SealedError for refused calls, and for its unasked end."""
        if setup.clock is not None:
            raise MisuseError("a sealed component goes by the clocks of the machine: test its timers without --sealed")
        if setup.devices or setup.events is not None:
            raise MisuseError("a sealed component has no devices and events of a test: test those without --sealed")
        read_options(setup.kind, setup.address, setup.options)  # the same sentence as in the process, which would end
        programs = PlainPrograms(setup.programs, logging.getLogger(setup.address))
        workers = HandedWorkers(programs)
        talk, theirs = socket.socketpair()
        told, telling = socket.socketpair()
        with tempfile.TemporaryFile() as log, telling, theirs, workers.theirs:
            request = {
                "class": _class_path(setup.kind), "address": setup.address, "options": dict(setup.options),
                "needs": dict(setup.needs), "imports": list(setup.imports), "state": os.path.abspath(setup.state),
                "path": [os.path.abspath(entry) for entry in sys.path if entry],
                "workers": programs.limits,
                "secrets": {name: value.decode() for name, value in setup.secrets.items()},
            }  # fmt: skip
            self.send(request, [theirs.fileno(), telling.fileno(), log.fileno(), workers.theirs.fileno()])
            workers.theirs.close()
            theirs.close()
            telling.close()
            carrier = SocketCarrier(talk)
            conversation = Conversation(carrier, peers)
            news = _News(told, conversation)
            carrier.start(conversation.on_message, lambda: None)
            it = ComponentUnderTest(conversation, peers, None, news.refused)
            try:
                await news.wait_for(lambda: _started(conversation))
                yield it
                await news.wait_for(lambda: _stopped(conversation))
            finally:
                await conversation.close()
                carrier.close()
                await news.end()
                await workers.close()
                _show(log)
            if it.refused:
                raise SealedError("\n".join(it.refused))


class _News:
    """What is told of a sealed process: refused calls, that it could not begin, and its end."""

    def __init__(self, told: socket.socket, conversation: Conversation) -> None:
        told.setblocking(False)
        self._told = told
        self._conversation = conversation
        self._unread = b""
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self.failed = ""
        self._ended: str | None = None
        self._refused: list[str] = []
        self._loop.add_reader(told, self._read)

    def refused(self) -> list[str]:
        """Return what was refused until now: it is told before the process goes on, so before it answers."""
        with suppress(BlockingIOError):
            while not self._over.done():
                self._read()
        return self._refused

    async def wait_for(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for a call to the process. Raises ConfigError for one that cannot begin, SealedError for its end."""
        if self._ended is None:
            try:
                await work()
                return
            except Unavailable:
                await self.end()
        if self.failed:
            raise ConfigError(self.failed)
        raise SealedError("\n".join([*self._refused, f"the sealed process has ended: {self._ended}; its log says why"]))

    async def end(self) -> None:
        """Wait for the end of the process."""
        async with asyncio.timeout(START_S):
            await asyncio.wait({self._over})

    def _read(self) -> None:
        data = self._told.recv(65536)
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))
        if not data:
            self._loop.remove_reader(self._told)
            self._told.close()
            if not self._over.done():
                self._over.set_result(None)

    def _hear(self, news: dict[str, str]) -> None:
        if "refused" in news:
            self._refused.append(news["refused"])
            return
        self.failed = news.get("failed", "")
        self._ended = news.get("ended", "it could not begin")
        self._conversation.on_lost(f"the sealed process has ended: {self._ended}")


async def _started(conversation: Conversation) -> None:
    await conversation.call(PROCESS, "start", (), {}, caller="", timeout_s=START_S)


async def _stopped(conversation: Conversation) -> None:
    await conversation.call(PROCESS, "stop", (), {}, caller="", timeout_s=START_S)


def _class_path(kind: type[Component]) -> str:
    if kind.__module__ == "__main__" or "." in kind.__qualname__ or _is_test(kind.__module__):
        raise MisuseError(
            f"cannot run {kind.__qualname__} sealed: its class must be at the top of a module that a host can import, "
            "not in the test"
        )
    return f"{kind.__module__}:{kind.__qualname__}"


def _is_test(module: str) -> bool:
    last = module.rpartition(".")[2]
    return last.startswith("test_") or last.endswith("_test") or last == "conftest"


def _show(log: IO[bytes]) -> None:
    """Show what the process has written, as a test that fails shows it."""
    log.seek(0)
    if text := log.read().decode("utf-8", "replace"):
        print(text, file=sys.stderr)
