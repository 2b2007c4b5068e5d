"""What the launcher starts inside the pid namespace: the arguments it passes on, and the exit code."""

from __future__ import annotations

import argparse
import gc
import os
from pathlib import Path

from tlsrt.command_line.run import folded
from tlsrt.supervisor.launch.journal_stream import ERROR_PREFIX, STANDARD_ERROR, is_journal


def supervise(argv: list[str]) -> int:
    """Run the supervisor itself, inside its pid namespace; `argv` is what the launcher passes on."""
    inner = argparse.ArgumentParser(add_help=False)
    inner.add_argument("--death-pipe", type=int)
    inner.add_argument("--no-pid-namespace")
    inner.add_argument("--manager", type=int)
    inner.add_argument("--watchdog-us", type=int, default=0)
    inner.add_argument("--passed", action="append", default=[])
    inner.add_argument("--undos", type=int)
    inner.add_argument("--log")
    inner.add_argument("--config", type=Path, required=True)
    arguments = inner.parse_args(argv)

    def run() -> int:
        gc.disable()  # until all is imported: hardly anything of it is garbage, and `freeze` looks at it once
        from tlsrt.supervisor.launch.start import start as start_supervisor
        from tlsrt.supervisor.process.service_manager import ServiceManager
        from tlsrt.supervisor.process.undo_processes import UndoProcesses

        manager = ServiceManager(arguments.manager, arguments.watchdog_us)
        passed = [(name, int(number)) for number, _, name in (word.partition(":") for word in arguments.passed)]
        return start_supervisor(
            arguments.config,
            arguments.death_pipe,
            arguments.no_pid_namespace,
            manager,
            arguments.log,
            passed,
            UndoProcesses(arguments.undos),
        )

    prefix = ERROR_PREFIX if is_journal(STANDARD_ERROR, os.environ) else ""  # why there is no start
    return folded(f"{prefix}tlsrt-supervisor", run)
