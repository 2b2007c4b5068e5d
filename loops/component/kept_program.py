"""Programs that stay: begun again after each end, as long as their component runs.

`self.keep_running("main", "-c", "/etc/broker.conf", serve=self.serve)` begins the program and comes back at once. Each
run is served by `serve`, in a task that ends with the run. When a run ends, however it does, the next one begins after
a pause; too many ends in a short time end the component, as for every task of it (see `tasks.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Literal

from tlsrt.errors import Busy, ProgramError
from tlsrt.loops.component.program import Program, ProgramRunner
from tlsrt.loops.component.tasks import SpawnedTask
from tlsrt.text import printable

Serve = Callable[[Program], Awaitable[object]]
State = Literal["starting", "running", "waiting", "ended"]
_WORDS_MOST = 200
LAST_WORDS_S = 1.0  # for `serve` to read what a run has left


class KeptProgram:
    """A program that runs as long as its component. Made by `Component.keep_running`."""

    def __init__(
        self, runner: ProgramRunner, name: str, arguments: Sequence[str | bytes], serve: Serve | None,
        log: logging.Logger, *, reads_output: bool,
    ) -> None:  # fmt: skip
        self.name = name
        self.last = ""  # how the last run ended, in words
        self.restarts = 0
        self.state: State = "starting"
        self.run: Program | None = None
        self._runner = runner
        self._arguments = tuple(arguments)
        self._serve = serve
        self._reads_output = reads_output
        self._log = log
        self._task: SpawnedTask | None = None
        self._wish: asyncio.Future[str] | None = None  # that this run ends

    def begin(self, spawn: Callable[[Callable[[], Awaitable[object]], str], SpawnedTask]) -> None:
        """Begin the first run; the runtime does this once."""
        self._task = spawn(self._run_once, f"program {self.name}")

    @property
    def trouble(self) -> str:
        """Return why it does not run; empty if it does."""
        if self.state == "running":
            return ""
        return f"the program {self.name} is not running{f': {self.last}' if self.last else ''}"

    def restart(self, why: str) -> None:
        """End this run; the next one begins after a pause. `why` goes to the log."""
        if self._wish is not None and not self._wish.done():
            self._wish.set_result(why)

    async def stop(self) -> None:
        """End it for good. A component that stops does so by itself."""
        if self._task is not None:
            await self._task.stop()
        self.state = "ended"

    async def _run_once(self) -> None:
        """Run it to its end, which is no error here: the task that this is begins again."""
        self.restarts += bool(self.last)
        self.state = "starting"
        self._wish = asyncio.get_running_loop().create_future()
        try:
            async with Program(self._runner, self.name, self._arguments) as run:
                self.run, self.state = run, "running"
                self.last = await self._attend(run, self._wish)
        except ProgramError as error:
            self.last = f"{error.how}{f': {error.stderr.splitlines()[-1]}' if error.stderr else ''}"
        except Busy as error:
            self.last = str(error)
        except Exception as error:
            self.last = f"its run has failed: {printable(str(error) or type(error).__name__, _WORDS_MOST)}"
            raise
        finally:
            self.run, self.state = None, "waiting"
        self._log.warning("program %s: %s", self.name, self.last)

    async def _attend(self, run: Program, wish: asyncio.Future[str]) -> str:
        """Serve a run until it is over; return how it ended. Raises ProgramError, and what `serve` raises."""
        if not self._reads_output:
            await run.end_input()
        works: list[Coroutine[Any, Any, object]] = [] if self._reads_output else [run.log_output()]
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(one) for one in works]
        served = None if self._serve is None else asyncio.ensure_future(self._serve(run))
        ended = loop.create_task(run.ended())
        waits: set[asyncio.Future[Any]] = {ended, wish}
        try:
            while not ended.done() and not wish.done():
                if served is not None and not served.done():
                    await asyncio.wait({*waits, served}, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if served is not None and served.done() and not served.cancelled():
                    served.result()  # its error ends the run
            if wish.done() and not ended.done():
                return wish.result()
            left = {*tasks, *([served] if served is not None and self._reads_output else [])}
            if left:
                await asyncio.wait(left, timeout=LAST_WORDS_S)
            return f"it ended with status {ended.result()}"
        finally:
            await run.let_go()
            every = [*tasks, ended, *([served] if served is not None else [])]
            for task in every:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait(every)
