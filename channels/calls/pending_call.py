"""One pending call: what is known of it until it ends, and what its asker awaits. asyncio.

Theory of operation. A call with one answer is its own awaitable: asyncio's future would be another object, and another
turn of the event loop before the asker goes on. It is what asyncio asks of a future that one task awaits, so a task is
cancelled and a timeout ends as ever. Taking an answer runs nothing; askers go on at the end of the turn that brought it
(`PendingCalls`), by `wake_now` where no task runs. An error is told from within changes of state, so its asker always
goes on in a later turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any

from tlsrt.channels.calls.flow_control import Credit, Inbox
from tlsrt.errors import CallError


class PendingCall:
    """One open call: a stream with its `inbox`, or an upload with the `future` of its answer."""

    __slots__ = ("credit", "deadline", "frame", "future", "inbox", "target")

    def __init__(self, target: str, frame: bytes, deadline: int = 0) -> None:
        self.target = target
        self.frame = frame
        self.deadline = deadline  # BOOTTIME, ms; 0: a stream, which lives as long as it is renewed
        self.future: asyncio.Future[Any] | None = None
        self.inbox: Inbox[Any] | None = None
        self.credit: Credit | None = None

    def fail(self, error: CallError) -> None:
        """End it with an error, if it has not ended."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)
        if self.inbox is not None:
            self.inbox.fail(error)

    def cut(self, error: CallError) -> None:
        """End it, with what has arrived and was not read."""
        self.fail(error)
        if self.inbox is not None:
            self.inbox.cut(error)


class AwaitedCall(PendingCall):
    """One open call with one answer, which one task awaits once. `seq` is set when it has its number.

    Who takes its answer sets `value` and then `is_done`, if it is not done, and has its asker go on if there is one.
    """

    __slots__ = ("_asyncio_future_blocking", "_context", "_error", "_loop", "is_done", "seq", "value", "wake")

    def __init__(self, loop: asyncio.AbstractEventLoop, target: str, deadline: int) -> None:
        """Other attributes are set when there is something to say: each costs as much as a comparison."""
        self.target = target
        self.deadline = deadline
        self.frame = b""  # until it is sealed
        self.is_done = False
        self.wake: Callable[[AwaitedCall], object] | None = None
        self._error: BaseException | None = None
        self._loop = loop
        self._context: Context | None
        self.seq: int
        self.value: Any

    def cut(self, error: CallError) -> None:
        """End it with an error: nothing of its answer has arrived."""
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End it with an error, if it has not ended; its asker goes on in the next turn."""
        if not self.is_done:
            self._error, self.is_done = error, True
            self.wake_soon()

    def wake_now(self) -> None:
        """Have the asker go on. No task may run: one cannot go on within another."""
        wake = self.wake
        if wake is not None and self._context is not None:
            self.wake = None  # which holds the task
            self._context.run(wake, self)

    def wake_soon(self) -> None:
        """Have the asker go on in the next turn."""
        wake, self.wake = self.wake, None
        if wake is not None:
            self._loop.call_soon(wake, self, context=self._context)

    # -- what asyncio asks of a future ------------------------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the task that awaits it."""
        return self._loop

    def done(self) -> bool:
        """Tell whether it has ended."""
        return self.is_done

    def result(self) -> Any:
        """Return the answer, or raise the error, once. What resumes a task asks for it."""
        if self._error is None:
            return self.value
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # its frames would hold it, and with it what was sent, until they are collected

    def add_done_callback(self, wake: Callable[[AwaitedCall], object], *, context: Context | None = None) -> None:
        """Take what resumes the task that awaits it."""
        self.wake, self._context = wake, context

    def cancel(self, msg: object = None) -> bool:
        """End the wait of a task that was cancelled; False if it has ended already, when the task sees to that."""
        if self.is_done:
            return False
        self.fail(asyncio.CancelledError())
        return True

    def __await__(self) -> Generator[AwaitedCall, None, Any]:
        if self.is_done:
            return self.result()
        self._asyncio_future_blocking = True
        yield self  # where an error is thrown in
        return self.value
