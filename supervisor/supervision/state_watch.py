"""Watch over the folders /state of programs that stay: one that grows beyond its `state_mb` has its run ended.

It is a watch and no wall: a file cannot be larger than `state_mb` at any moment (RLIMIT_FSIZE), but many files are seen
at the next look only, a second later, or later where there are so many that a look takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial

from tlsrt.supervisor.process.folder_size import measured
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.program_run import ProgramRun

PAUSE_S = 1.0
_PAUSE_A_STEP_S = 0.01  # 20 times what a step takes, for a look at very many files

End = Callable[[str], None]  # ends a run, for the reason in words


class StateWatch:
    """The looks at all runs that have such a folder."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def watch(self, run: ProgramRun, end: End) -> None:
        """Look at the folder of a run as long as that lives."""
        if run.placed.program.state_mb:
            self._context.event_loop.call_later(PAUSE_S, partial(self._begin, run, end))

    def _begin(self, run: ProgramRun, end: End) -> None:
        folder = self._context.current.config.state_dir / run.slot
        self._go_on(run, end, measured(folder, run.placed.program.state_mb << 20), 0)

    def _go_on(self, run: ProgramRun, end: End, look: Generator[None, None, int], steps: int) -> None:
        """Do one step of a look; each is a turn of the event loop."""
        if run.child is None or run.outcome is not None:
            look.close()
            return
        event_loop, most_mb = self._context.event_loop, run.placed.program.state_mb
        try:
            next(look)
        except StopIteration as found:
            if found.value > most_mb << 20:
                end(f"its /state holds more than its `state_mb` of {most_mb} MiB, in files or in their number")
                return
        except OSError as error:
            self._context.console.warning(run.name, f"its /state cannot be measured: {error.strerror}")
        else:
            event_loop.call_later(0, partial(self._go_on, run, end, look, steps + 1))
            return
        event_loop.call_later(max(PAUSE_S, steps * _PAUSE_A_STEP_S), partial(self._begin, run, end))
