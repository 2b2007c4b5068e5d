"""One process of a worker, from its start to its end: sends a call and takes what comes of it, one at a time. asyncio.

What it does with the socket runs in tasks that no caller cancels, so a cancelled call leaves both directions between
two frames: it is *settled*, which means that the rest of it is read and thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, cast

from tlsrt.channels.frames.worker_frames import (
    Kind,
    WorkerFrame,
    WorkerFrames,
    encode_frame,
    error_untrusted,
    methods_untrusted,
    parts_in,
)
from tlsrt.errors import (
    CallError,
    DeadlineExceeded,
    InvalidArgument,
    PeerError,
    ProgramError,
    Unavailable,
    WorkerError,
    call_error,
)
from tlsrt.loops.component.program import CHUNK_BYTES, Program

END_S = 2.0  # for a worker that is told to end; then it is ended
ENDS = frozenset((Kind.RESULT, Kind.END, Kind.ERROR))
_FROM_CALL = frozenset((Kind.ITEM, *ENDS))
_TOLD = frozenset(("invalid_argument", "not_found", "conflict", "busy", "failed"))  # what a function may answer with


class WorkerProcess:
    """A worker that runs. Made by its pool; `program` is entered here and left in `close`."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._frames = WorkerFrames()
        self._reading: asyncio.Task[WorkerFrame] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._parts_error: Exception | None = None
        self._ending: asyncio.Task[None] | None = None
        self._is_answered = True  # what was called has ended
        self._watched: asyncio.Task[WorkerFrame] | None = None
        self._why = ""  # it was ended by us
        self.methods: dict[str, tuple[bool, bool]] = {}
        self.is_over = False  # nothing more can be asked of it

    async def load(self) -> None:
        """Begin it, and wait until its module is imported. Raises Unavailable, Busy, ProgramError."""
        await self._program.__aenter__()
        frame = await self._next()
        if frame.kind is Kind.ERROR:
            _, kind, message = self._trusted(error_untrusted, frame.value)
            raise Unavailable(f"worker {self._program.name} cannot be loaded: {kind}: {message}")
        if frame.kind is not Kind.HELLO:
            raise self.broken("unexpected_kind")
        self.methods = self._trusted(methods_untrusted, frame.value)

    def watch(self, ended: Callable[[], None]) -> None:
        """Hear of its end, or of a word that was not asked for, while it waits for a call."""
        task = self._read()
        if task is not self._watched:  # a call that was refused has read nothing
            self._watched = task
            task.add_done_callback(lambda task: None if task.cancelled() else ended())

    @property
    def last_words(self) -> str:
        """Return how it ended while it waited for a call."""
        if self._reading is None or not self._reading.done():
            return "it has ended"
        error = self._reading.exception()
        return "it spoke without a call" if error is None else str(error)

    @property
    def is_idle(self) -> bool:
        """Tell whether it waits for a call, and has said nothing."""
        return not self.is_over and (self._reading is None or not self._reading.done())

    def begin(
        self, method: str, args: Sequence[object], kwargs: dict[str, object], parts: AsyncIterable[bytes] | None
    ) -> None:
        """Send a call, and its parts as they come. Raises InvalidArgument before anything is sent."""
        pieces = encode_frame(Kind.CALL, [method, [*args], kwargs, parts is not None])
        self._parts_error = None
        self._is_answered = False
        self._write(pieces)
        if parts is not None:
            self._pump = asyncio.get_running_loop().create_task(self._send_parts(parts))

    async def next(self, method: str) -> WorkerFrame:
        """Return the next item or the end of a call.

        Raises what the function raised (CallError or WorkerError), Unavailable if the process has ended.
        """
        frame = await self._next()
        if frame.kind not in _FROM_CALL:
            raise self.broken("unexpected_kind")
        if frame.kind in ENDS:
            self._is_answered = True
            await self._end_parts()  # what the function did not read of an upload, it leaves out
            if self._parts_error is not None:
                raise self._parts_error
        if frame.kind is Kind.ERROR:
            raise self._raised(method, frame)
        return frame

    async def settle(self) -> None:
        """Come to the end of a call that is not wanted any more. Raises Unavailable if the process ends meanwhile."""
        cancel = asyncio.get_running_loop().create_task(self._cancel())
        try:
            while not self._is_answered:
                frame = await self._next()
                self._is_answered = frame.kind in ENDS
                if not self._is_answered and frame.kind is not Kind.ITEM:
                    raise self.broken("unexpected_kind")
            await cancel
        finally:
            cancel.cancel()

    def end(self, why: str) -> None:
        """End it now. Who waits for it is told why; `close` follows."""
        self.is_over, self._why = True, self._why or why
        self._ending = asyncio.get_running_loop().create_task(self._program.let_go())

    async def close(self, *, orderly: bool) -> None:
        """End it: in good order if it waits for a call, else at once."""
        self.is_over = True
        if orderly and self._reading is not None:
            await self._program.end_input()
            await asyncio.wait([self._reading], timeout=END_S)  # the end of what it writes
            with suppress(TimeoutError, ProgramError):
                await asyncio.wait_for(self._program.wait(), END_S)
        if self._pump is not None:
            self._pump.cancel()
        await self._program.__aexit__(None, None, None)  # which ends what reads and writes
        tasks = [task for task in (self._pump, self._writing, self._reading, self._ending) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- what goes out

    def _write(self, pieces: Sequence[bytes]) -> asyncio.Task[None]:
        self._writing = asyncio.get_running_loop().create_task(self._write_all(pieces))
        return self._writing

    async def _write_all(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            await self._program.write(piece)

    async def _written(self) -> None:
        if self._writing is not None and not self._writing.done():
            await asyncio.shield(self._writing)

    async def _send_parts(self, parts: AsyncIterable[bytes]) -> None:
        """Send parts as they come; what the upload raises ends the call. It can be cancelled between two frames."""
        await self._written()
        try:
            async for data in _cut(parts):
                await asyncio.shield(self._write(encode_frame(Kind.PART, data)))
        except Exception as error:
            self._parts_error = error
            self._write(encode_frame(Kind.CANCEL))
        else:
            self._write(encode_frame(Kind.PARTS_END))

    async def _end_parts(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
            self._pump = None  # only now: who waits may be cancelled, and `settle` has to wait again
        await self._written()

    async def _cancel(self) -> None:
        """Say that a call is not wanted, behind the frame that is on its way."""
        await self._end_parts()
        await self._write(encode_frame(Kind.CANCEL))

    # -- what comes in

    async def _next(self) -> WorkerFrame:
        frame = await asyncio.shield(self._read())
        self._reading = None
        return frame

    def _read(self) -> asyncio.Task[WorkerFrame]:
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._frame())
        return self._reading

    async def _frame(self) -> WorkerFrame:
        while (frame := self._trusted(WorkerFrames.next_untrusted, self._frames)) is None:
            data = await self._program.read(CHUNK_BYTES)
            if not data:
                raise await self._ended()
            self._frames.feed(data)
        return cast("WorkerFrame", frame)

    def _trusted(self, read: Any, *args: Any) -> Any:
        try:
            return read(*args)
        except PeerError as error:
            raise self.broken(error.reason) from None

    def broken(self, reason: str) -> Unavailable:
        """Return the error of an answer that is none; nothing more is asked of this process."""
        self.is_over = True
        return Unavailable(f"worker {self._program.name} broke its protocol: {reason}")

    async def _ended(self) -> CallError:
        was_over, self.is_over = self.is_over, True
        if self._why:
            return DeadlineExceeded(f"worker {self._program.name} was ended: {self._why}")
        if was_over:
            return Unavailable(f"worker {self._program.name} was ended by its component")
        try:
            status = await self._program.wait()
        except ProgramError as error:
            return Unavailable(f"worker {self._program.name} has ended: {str(error).partition(': ')[2]}")
        said = self._program.stderr.strip().splitlines()
        more = f"; it said: {said[-1]}" if said else ""
        return Unavailable(f"worker {self._program.name} has ended with status {status}{more}")

    def _raised(self, method: str, frame: WorkerFrame) -> Exception:
        code, kind, message = self._trusted(error_untrusted, frame.value)
        if code in _TOLD:
            return call_error(code, message)
        return WorkerError(self._program.name, method, kind, message)


async def _cut(parts: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    async for data in parts:
        if type(data) is not bytes:
            raise InvalidArgument(f"a worker takes parts of bytes, not of {type(data).__name__}")
        for piece in parts_in(data):
            yield piece
