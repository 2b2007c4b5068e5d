"""The process of a worker: takes the sockets out of the way, imports the module, and answers one call after the other.

Standard input and output are one socket, to the component. Libraries print, so both are moved aside before the first
import: what is printed goes to standard error, and so to the component's log.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import traceback

from tlsrt.channels.frames.worker_frames import METHODS_MAX
from tlsrt.errors import EX_SOFTWARE, MisuseError
from tlsrt.loops.component.method import MethodSpec
from tlsrt.loops.component.worker_method import compile_function
from tlsrt.worker import MARK
from tlsrt.worker.serving import ComponentGone, Serving


def main(module: str) -> int:
    """Serve the functions of a module until the component ends its input. Returns the exit status."""
    serving = Serving(_take_socket())
    try:
        functions = functions_of(module)
    except BaseException as error:  # SystemExit as well: a module may call sys.exit
        traceback.print_exc()
        serving.cannot_load(error)
        return EX_SOFTWARE
    try:
        serving.run(functions)
    except ComponentGone:
        pass
    return 0


def _take_socket() -> socket.socket:
    """Return the socket that standard input and output are, at a number of its own, which nothing prints to."""
    data = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return data


def functions_of(module: str) -> dict[str, MethodSpec]:
    """Import a module and return its functions that are marked. Raises what the import raises, and MisuseError."""
    imported = importlib.import_module(module)
    found = {
        name: compile_function(module, name, value)
        for name, value in vars(imported).items()
        if getattr(value, MARK, False) is True
    }
    if not found:
        raise MisuseError(f"{module} has no function that is marked with @worker")
    if len(found) > METHODS_MAX:
        marks = f"{module} marks {len(found)} functions with @worker"
        raise MisuseError(f"{marks}, and {METHODS_MAX} are possible: divide it")
    sys.stdout.flush()
    return found
