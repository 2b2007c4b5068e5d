"""Watch over the folders /state of programs that stay: one that grows beyond its `state_mb` has its run ended.

It is a watch and no wall: a file cannot be larger than `state_mb` at any moment (RLIMIT_FSIZE), but many files are seen
at the next look only, a second later, or later where there are so many that a look takes long. One folder is looked at
after the other: a look holds descriptors, and their number must not grow with that of the programs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

from tlsrt.supervisor.process.folder_size import measured
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.program_run import ProgramRun

PAUSE_S = 1.0
_PAUSE_A_STEP_S = 0.01  # 20 times what a step takes, for a look at very many files

End = Callable[[str], None]  # ends a run, for the reason in words


@dataclass(slots=True)
class _Watched:
    run: ProgramRun
    end: End
    is_told: bool = False  # that its folder cannot be measured

    @property
    def is_over(self) -> bool:
        return self.run.child is None or self.run.outcome is not None


class StateWatch:
    """The looks at all runs that have such a folder."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: deque[_Watched] = deque()
        self._is_looking = False

    def watch(self, run: ProgramRun, end: End) -> None:
        """Look at the folder of a run as long as that lives."""
        if run.placed.program.state_mb:
            self._again(_Watched(run, end), PAUSE_S)

    def _again(self, one: _Watched, pause_s: float) -> None:
        self._context.event_loop.call_later(pause_s, partial(self._queue, one))

    def _queue(self, one: _Watched) -> None:
        self._waiting.append(one)
        if not self._is_looking:
            self._next()

    def _next(self) -> None:
        self._is_looking = bool(self._waiting)
        if self._is_looking:
            one = self._waiting.popleft()
            folder = self._context.current.config.state_dir / one.run.slot
            self._go_on(one, measured(folder, one.run.placed.program.state_mb << 20), 0)

    def _go_on(self, one: _Watched, look: Generator[None, None, int], steps: int) -> None:
        """Do one step of a look; each is a turn of the event loop."""
        event_loop, most_mb = self._context.event_loop, one.run.placed.program.state_mb
        if one.is_over:
            look.close()
            event_loop.call_later(0, self._next)
            return
        try:
            next(look)
        except StopIteration as found:
            if found.value > most_mb << 20:
                one.end(
                    f"its /state holds more than its `state_mb` of {most_mb} MiB, in files or in their number, "
                    "or folders that are nested too deep or closed to the supervisor"
                )
        except OSError as error:
            if not one.is_told:
                self._context.console.warning(one.run.name, f"its /state cannot be measured: {error.strerror}")
            one.is_told = True
        else:
            event_loop.call_later(0, partial(self._go_on, one, look, steps + 1))
            return
        if not one.is_over:
            self._again(one, max(PAUSE_S, steps * _PAUSE_A_STEP_S))
        event_loop.call_later(0, self._next)
