"""Programs of a process: asks the supervisor for each with one integer, and takes what it hands over.

Answers come in the order of the requests for one program; which of two equal requests gets which does not matter.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from tlsrt.channels.control.life import ProgramMessage, ProgramOverMessage, ProgramSocket, ProgramSocketMessage
from tlsrt.channels.control.program_outcome import SENTENCES, Outcome
from tlsrt.channels.control.program_request import encode_secrets
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.components import ComponentConfig
from tlsrt.config.programs import ProgramConfig, end_s_of
from tlsrt.errors import Busy, Cancelled, MisuseError, PeerError, ProgramError
from tlsrt.loops.component.program import Pipes
from tlsrt.loops.component.secrets import ComponentSecrets
from tlsrt.loops.component.worker_pool import WorkerLimits
from tlsrt.loops.dispatch.tracer import OpenSpan, Tracer, code_of
from tlsrt.loops.runtime.life_orders import Orders
from tlsrt.rate_limit import Bucket
from tlsrt.text import did_you_mean, printable

WAITING_MOST = 64  # requests for one program; one more is Busy
ASKED_BURST, ASKED_PER_S = 28, 18.0  # below what the supervisor takes, so that who is in a hurry waits here
PAUSES_S = (0.05, 0.1, 0.2, 0.4)  # after each refusal of a busy supervisor; the last one is told
LOGGED_BURST, LOGGED_PER_S = 50, 10.0  # lines of standard error of one program
LINE_MOST = 400


class ProcessPrograms:
    """All programs of the components of one process, by their place in the configuration."""

    def __init__(
        self, components: Sequence[ComponentConfig], life: ControlChannel, tracer: Tracer | None = None
    ) -> None:
        self._life = life
        self.tracer = tracer or Tracer()
        self._programs: list[_ProgramQueue] = []
        self._asked = Bucket(ASKED_BURST, ASKED_PER_S)
        self._by_component: dict[str, dict[str, _ProgramQueue]] = {}
        for component in components:
            queues = self._by_component.setdefault(component.address, {})
            for program in component.programs:
                queues[program.name] = _ProgramQueue(len(self._programs), program)
                self._programs.append(queues[program.name])

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._programs)

    @property
    def orders(self) -> Orders:
        """Return what takes the messages about programs."""
        return {
            "program_socket": lambda fields, descriptors: self.socket_came(fields, descriptors[0]),
            "program": self.begun,
            "program_over": lambda fields, descriptors: self.over(fields),
        }

    def of(self, address: str, log: logging.Logger, secrets: ComponentSecrets) -> ComponentPrograms:
        """Return the programs of one component, which get secrets of it."""
        return ComponentPrograms(self, address, self._by_component.get(address, {}), log, secrets)

    async def ask(self, queue: _ProgramQueue) -> Pipes:
        """Have a program run. Takes the caller's permit of `queue.room`, which comes back in every case."""
        try:
            while wait_s := self._wait_s():
                await asyncio.sleep(wait_s)
            self._life.send("run", queue.index)
        except BaseException as error:  # nothing is asked for, and so no answer will give the permit back
            queue.room.release()
            if isinstance(error, PeerError):
                raise Busy("the supervisor does not take requests now") from None
            raise
        future: asyncio.Future[Pipes] = asyncio.get_running_loop().create_future()
        queue.asked.append(future)
        try:
            return await future  # cancelled while it waits, it stays in `asked`: what comes for it is let go
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:
                future.result().close()
            raise

    def _wait_s(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._asked.take(now):
            return 0.0
        return max(0.001, (1 - self._asked.left) / ASKED_PER_S)

    def socket_came(self, message: ProgramSocketMessage, descriptor: int) -> None:
        """Take a further socket of a run that is about to be told. Raises PeerError for what was not asked for."""
        made = socket.socket(fileno=descriptor)
        made.setblocking(False)
        queue = self._programs[message.program] if message.program < len(self._programs) else None
        if queue is None or not queue.asked:
            made.close()
            raise PeerError("not_asked_for")
        queue.sockets[message.number, ProgramSocket(message.kind)] = made

    def begun(self, message: ProgramMessage, descriptors: Sequence[int]) -> None:
        """Take a program that the supervisor has begun. Raises PeerError for one that was not asked for."""
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        for one in sockets:
            one.setblocking(False)
        queue = self._programs[message.program] if message.program < len(self._programs) else None
        if queue is None or not queue.asked:
            for one in sockets:
                one.close()
            raise PeerError("not_asked_for")
        over: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        queue.running[message.number] = over
        data, errors, leash = sockets
        talk, notices, undo = (queue.sockets.pop((message.number, kind), None) for kind in ProgramSocket)
        pipes = Pipes(message.number, data, errors, leash, over, talk, notices, queue.grace_s, undo)
        future = queue.asked.popleft()
        if future.cancelled():
            pipes.close()
        else:
            future.set_result(pipes)

    def over(self, message: ProgramOverMessage) -> None:
        """Take the end of a run, or the refusal of one. Raises PeerError for one that is not known."""
        queue = self._programs[message.program] if message.program < len(self._programs) else None
        if queue is None or (message.number and message.number not in queue.running):
            raise PeerError("not_asked_for")
        if message.number:
            over = queue.running.pop(message.number)
            if not over.done():
                over.set_result((message.outcome, message.status))
            queue.room.release()
        elif queue.asked:
            future = queue.asked.popleft()
            if not future.cancelled():
                future.set_exception(_refusal(Outcome(message.outcome)))
            queue.room.release()


def _refusal(outcome: Outcome) -> Exception:
    if outcome is Outcome.BUSY:
        return Busy(SENTENCES[outcome])
    return ProgramError("", outcome.name.lower(), SENTENCES[outcome], 0, "")


def _end_with(pipes: Pipes, span: OpenSpan) -> None:
    """End a span with the run of its program, by its outcome or its status."""

    def ended(over: asyncio.Future[tuple[int, int]]) -> None:
        if over.cancelled():
            span.end(Cancelled.code)
            return
        outcome, status = over.result()
        if outcome == Outcome.ENDED:
            span.end(f"status {status}" if status else "")
        else:
            span.end(Outcome(outcome).name.lower())

    pipes.over.add_done_callback(ended)


class _ProgramQueue:
    """One program: who waits for it, and what runs."""

    def __init__(self, index: int, program: ProgramConfig) -> None:
        self.index = index
        self.secrets = tuple(program.secrets)
        self.worker = WorkerLimits(program.runs_most, program.call_s) if program.worker else None
        self.grace_s = end_s_of([program])  # that a component waits for its end
        self.sockets: dict[tuple[int, ProgramSocket], socket.socket] = {}  # of a run that is about to be told
        self.room = asyncio.Semaphore(program.runs_most)  # given back when the supervisor says that a run is over
        self.waiting = 0
        self.asked: deque[asyncio.Future[Pipes]] = deque()
        self.running: dict[int, asyncio.Future[tuple[int, int]]] = {}


class ComponentPrograms:
    """The programs of one component, by their names."""

    def __init__(
        self, process: ProcessPrograms, address: str, queues: dict[str, _ProgramQueue], log: logging.Logger,
        secrets: ComponentSecrets,
    ) -> None:  # fmt: skip
        self._address = address
        self._secrets = secrets
        self._process = process
        self._queues = queues
        self._log = log
        self._lines = Bucket(LOGGED_BURST, LOGGED_PER_S)
        self._dropped = 0

    async def begin(self, name: str) -> Pipes:
        """Have a program run, after those that were asked for before. Raises MisuseError, Busy, ProgramError."""
        queue = self._queues.get(name)
        if queue is None:
            raise MisuseError(f"no program {name!r} is declared under `programs`{did_you_mean(name, self._queues)}")
        if queue.waiting >= WAITING_MOST:
            raise Busy(f"{WAITING_MOST} runs of {name} wait already")
        span = self._process.tracer.begin_program(self._address, name)
        try:
            pipes = await self._in_turn(name, queue)
        except BaseException as error:
            if span is not None:
                span.end(code_of(error))
            raise
        if span is not None:
            _end_with(pipes, span)
        return pipes

    async def _in_turn(self, name: str, queue: _ProgramQueue) -> Pipes:
        queue.waiting += 1
        try:
            for pause_s in PAUSES_S:
                with suppress(Busy):
                    return await self._begin(name, queue)
                await asyncio.sleep(pause_s)  # others have had many run, or this process is about to be replaced
            return await self._begin(name, queue)
        finally:
            queue.waiting -= 1

    def worker(self, name: str) -> WorkerLimits:
        """Return the limits of a worker. Raises MisuseError for what is none."""
        queue = self._queues.get(name)
        if queue is None or queue.worker is None:
            guess = did_you_mean(name, [one for one, queue in self._queues.items() if queue.worker is not None])
            raise MisuseError(f"no worker {name!r} is declared under `programs`{guess}")
        return queue.worker

    async def _begin(self, name: str, queue: _ProgramQueue) -> Pipes:
        await queue.room.acquire()
        try:
            return await self._process.ask(queue)
        except ProgramError as error:
            raise ProgramError(name, error.outcome, error.how, error.status, "") from None

    def secrets(self, name: str) -> bytes:
        queue = self._queues.get(name)
        if queue is None or not queue.secrets:
            return b""
        values = [self._secrets.value(one, b"") for one in queue.secrets]
        return encode_secrets([one for one in values if isinstance(one, bytes)])

    def log(self, name: str, number: int, lines: Sequence[bytes]) -> None:
        """Log lines of its standard error; of too many only how many they were, which costs no time for each."""
        now = asyncio.get_running_loop().time()
        for at, line in enumerate(lines):
            if not self._lines.take(now):
                self._dropped += len(lines) - at
                return
            if self._dropped:
                self._log.info("%s lines of programs were dropped", self._dropped)
                self._dropped = 0
            self._log.info("%s #%s: %s", name, number, printable(line.decode("utf-8", "backslashreplace"), LINE_MOST))
