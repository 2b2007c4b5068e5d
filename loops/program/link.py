"""Link to a program that speaks JSON-RPC: its socket, and the callers who wait for its answers.

Lines are written one after the other by one task, so that a caller who gives up never leaves half a line. What the
program tells unasked is taken at a bounded rate, and more than that makes the program wait.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from tlsrt.errors import CallError, Failed, InvalidArgument, NotFound, Unavailable
from tlsrt.loops.program.conversation import Blunder, Conversation, ConversationEnded
from tlsrt.loops.program.json_rpc import INVALID_PARAMS, METHOD_NOT_FOUND, Answer, Fault, Notification
from tlsrt.rate_limit import Bucket

_READ_BYTES = 64 << 10
TOLD_BURST, TOLD_PER_S = 200, 100.0  # notifications, and lines that make no sense
_DEBT = 1000.0
GONE = "the program has ended before it answered"
CLOSED = "it has closed its descriptor 3"


class Heard(Protocol):
    """What takes the notifications of a program."""

    def heard_untrusted(self, notification: Notification) -> str:
        """Take one; return what is wrong with it, or an empty text."""


class Link:
    """The conversation with one run of a program."""

    def __init__(self, talk: socket.socket, heard: Heard, log: logging.Logger) -> None:
        self._talk = talk
        self._heard = heard
        self._log = log
        self._conversation = Conversation()
        self._callers: dict[int, asyncio.Future[Answer | Fault]] = {}
        self._has_more = asyncio.Event()  # to write
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told = Bucket(TOLD_BURST, TOLD_PER_S, debt=_DEBT)
        self.is_closed = False

    async def call(self, method: str, params: Mapping[str, object]) -> Any:
        """Ask the program, and return its result. Raises CallErrors."""
        if self.is_closed:
            raise Unavailable(f"the program cannot be asked: {CLOSED}")
        number = self._conversation.ask(method, params)
        answer = self._callers[number] = asyncio.get_running_loop().create_future()
        self._has_more.set()
        try:
            found = await answer
        finally:
            if self._callers.pop(number, None) is not None:
                self._give_up(number)
        if isinstance(found, Fault):
            raise _error(method, found)
        return found.result

    def _give_up(self, number: int) -> None:
        try:
            self._conversation.give_up(number)
        except ConversationEnded as error:
            if not self._failed.done():
                self._failed.set_exception(error)
        self._has_more.set()

    async def run(self) -> None:
        """Read and write until the program has closed its end. Raises ConversationEnded."""
        tasks = [asyncio.ensure_future(one) for one in (self._read(), self._write(), self._failed)]
        try:
            await asyncio.wait(tasks[:1] + tasks[2:], return_when=asyncio.FIRST_COMPLETED)
            for task in (tasks[0], tasks[2]):
                if task.done():
                    task.result()
        finally:
            self.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if not self._failed.cancelled():
                self._failed.exception()  # it is told once

    def close(self) -> None:
        """Let no caller wait any longer."""
        self.is_closed = True
        callers, self._callers = self._callers, {}
        for answer in callers.values():
            if not answer.done():
                answer.set_exception(Unavailable(GONE))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._talk, _READ_BYTES)
            except OSError:
                return
            if not data:
                return
            owed_s = 0.0
            for event in self._conversation.receive_untrusted(data, loop.time()):
                if isinstance(event, Notification | Blunder):
                    owed_s = self._told.owe(loop.time())
                    self._tell(event)
                else:
                    self._answer(event)
            await asyncio.sleep(owed_s)  # also without a debt: others have their turn

    def _tell(self, event: Notification | Blunder) -> None:
        trouble = event.sentence if isinstance(event, Blunder) else self._heard.heard_untrusted(event)
        if trouble:
            self._log.warning("the program %s", trouble)

    def _answer(self, message: Answer | Fault) -> None:
        caller = self._callers.pop(message.id, None) if message.id is not None else None
        if caller is not None and not caller.done():
            caller.set_result(message)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while line := self._conversation.take():
                try:
                    await loop.sock_sendall(self._talk, line)
                except OSError:
                    return  # which the reader finds too
            self._has_more.clear()
            await self._has_more.wait()


def _error(method: str, fault: Fault) -> CallError:
    if fault.code == INVALID_PARAMS:
        return InvalidArgument(fault.message)
    if fault.code == METHOD_NOT_FOUND:
        return NotFound(f"the program has no {method}")
    return Failed(f"{method}: {fault.message or f'error {fault.code}'}")
