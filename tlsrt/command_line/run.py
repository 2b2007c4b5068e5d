"""Run a command: parse, perform, and fold errors into sentences and an exit code.

Nothing ends in a traceback: TLSRT_DEBUG=1 in the environment shows it as well.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from tlsrt.command_line.fitted import shown_at, terminal_width
from tlsrt.command_line.folding import folded_output
from tlsrt.command_line.parse import parse
from tlsrt.command_line.table import Command, Document, Verb
from tlsrt.errors import EX_INTERRUPTED, EX_PIPE_CLOSED, EX_SOFTWARE, EX_UNAVAILABLE, CallError, TlsrtError
from tlsrt.text import printable

Perform = Callable[[Verb, argparse.Namespace], int]


def main(command: Command, perform: Perform, words: Sequence[str] | None = None) -> int:
    """Run a command with its words, by default those of the process, and return its exit code."""
    if callable(found := signal.getsignal(signal.SIGINT)) and found is not signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with folded_output(has_answer=False):
            return folded(command.program, lambda: _main(command, perform, sys.argv[1:] if words is None else words))
    except SystemExit as ended:  # of the parser: a mistake, or an answer such as help
        return int(ended.code or 0)


def _main(command: Command, perform: Perform, words: Sequence[str]) -> int:
    verb, arguments = parse(command, words)
    if verb.name == "completion":
        from tlsrt.command_line.completion import script_of

        print(script_of(arguments.shell, command), end="")
        code = 0
    else:
        is_raw = verb.is_raw or getattr(arguments, "json", False) or getattr(arguments, "wide", False)
        with folded_output(has_answer=not is_raw):
            code = perform(verb, arguments)
    sys.stdout.flush()  # here, where a closed pipe has its exit code
    return code


def folded(program: str, run: Callable[[], int]) -> int:
    """Run, and fold every exception into sentences and an exit code."""
    try:
        return run()
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the flush at exit has somewhere to go
        return EX_PIPE_CLOSED
    except TlsrtError as error:
        _debug()
        text = error.message if isinstance(error, CallError) else str(error)  # a message may have been added to
        say(program, text or type(error).__name__)
        return error.exit_code
    except BlockingIOError:  # of fork(2): nothing else that waits for nothing gets here
        _debug()
        say(
            program,
            "cannot start a process: this user or control group may have no more of them; end some, or raise "
            "the limit (`ulimit -u`, pids.max)",
        )
        return EX_UNAVAILABLE
    except Exception as error:
        _debug()
        say(program, f"internal error: {type(error).__name__}: {error}; please report it, TLSRT_DEBUG=1 shows where")
        return EX_SOFTWARE


def _debug() -> None:
    if os.environ.get("TLSRT_DEBUG") == "1":
        import traceback

        traceback.print_exc()


def say(program: str, *sentences: str) -> None:
    """Print sentences to standard error, a line each, without anything that steers a terminal."""
    for sentence in sentences:
        for line in sentence.splitlines():
            print(f"{program}: {printable(line)}", file=sys.stderr)


def function(command: Command, name: str) -> Callable[..., Any]:
    """Return the function "module.function" of a command's package."""
    module, _, attribute = name.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(f"{command.package}.{module}"), attribute)
    return found


def show(
    command: Command, verb: Verb, answer: Document, dumps: Callable[..., str] | None, *, is_wide: bool = True
) -> None:
    """Print an answer: as one JSON document by `dumps`, or without it as the verb's `lines`.

    Tables fit the terminal unless `is_wide`.
    """
    if dumps is not None:
        print(dumps(answer, indent=2))
        return
    with shown_at(terminal_width(is_wide=is_wide)):
        lines = function(command, verb.lines)(answer)
    if lines:
        print("\n".join(lines))
