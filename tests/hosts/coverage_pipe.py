"""Coverage of sandboxed children: over an inherited pipe, because they can open no file.

A host that is started with `PRELUDE` and with TLSRT_COVERAGE_PIPE=FD in its environment has every forked child measure
itself in memory and write its CoverageData at its end. Children share the pipe, so what they write goes in
packets of at most PIPE_BUF bytes, which the kernel does not interleave (pipe(7)):

    stream id 8 random bytes | last u8 | length u16 BE | bytes
"""

from __future__ import annotations

import gc
import importlib
import os
import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

VARIABLE = "TLSRT_COVERAGE_PIPE"
_TESTS = str(Path(__file__).resolve().parents[1])
PRELUDE = f"""
import sys
sys.path.insert(0, {_TESTS!r})
from hosts import coverage_pipe
sys.path.remove({_TESTS!r})
coverage_pipe.install()
"""
_PACKET = 4096
_HEAD = struct.Struct("!8sBH")


def install() -> None:
    """Have every child of this supervisor measured, if the environment asks for it."""
    if VARIABLE not in os.environ:
        return
    from tlsrt.supervisor.launch import child_entries
    from tlsrt.supervisor.process.children import LoopStart

    given: Any = LoopStart.__dict__["descriptors"]
    pipe = int(os.environ[VARIABLE])
    LoopStart.descriptors = property(lambda start: [*given.fget(start), pipe])  # type: ignore[method-assign, assignment]
    child_entries.run_loop = _in_measured(child_entries.run_loop)
    child_entries.run_authority = _in_measured(child_entries.run_authority)


def _in_measured(body: Callable[..., int]) -> Callable[..., int]:
    @wraps(body)  # the fork server is told of it by its name
    def run(start: Any, *rest: object) -> int:
        with measured() as kept:
            return body(replace(start, keep=(*start.keep, *kept)), *rest)

    return run


@contextmanager
def measured() -> Generator[tuple[int, ...], None, None]:
    """Measure the block in a forked child; gives the descriptors that must stay open for it."""
    text = os.environ.get(VARIABLE)
    if text is None:
        yield ()
        return
    import coverage

    for module in ("coverage.sqldata", "sqlite3.dump"):  # what a sealed child could not import
        importlib.import_module(module)
    pipe = int(text)
    inherited = coverage.Coverage.current()
    own = coverage.Coverage(data_file=None, config_file=False, branch=True, source=_sources(), messages=False)
    own.set_option("run:disable_warnings", ["no-data-collected", "module-not-measured", "already-imported"])
    if inherited is not None:
        inherited.stop()
        for option in ("run:branch", "run:source", "run:relative_files"):
            own.set_option(option, inherited.get_option(option))
    own.start()
    try:
        yield (pipe,)
    finally:
        gc.disable()  # the process ends by os._exit; a ZeroMQ context that is collected here waits for its sockets
        own.stop()
        send(pipe, own.get_data().dumps())


def _sources() -> list[str]:
    """Return the folders of our code; in a checkout the rooms are links to elsewhere."""
    import tlsrt

    package = os.path.dirname(os.path.abspath(tlsrt.__file__))
    rooms = ("config", "channels", "sandbox", "loops", "supervisor")
    return [package, *(os.path.realpath(os.path.join(package, room)) for room in rooms)]


def send(pipe: int, data: bytes) -> None:
    """Write one dump in packets."""
    stream = os.urandom(8)
    room = _PACKET - _HEAD.size
    pieces = [data[at : at + room] for at in range(0, len(data), room)] or [b""]
    for number, piece in enumerate(pieces):
        os.write(pipe, _HEAD.pack(stream, number == len(pieces) - 1, len(piece)) + piece)


def collect(packets: bytes) -> list[bytes]:
    """Return the dumps that were written whole, from everything read out of the pipe."""
    growing: dict[bytes, bytearray] = {}
    done: list[bytes] = []
    at = 0
    while at + _HEAD.size <= len(packets):
        stream, last, length = _HEAD.unpack_from(packets, at)
        at += _HEAD.size
        growing.setdefault(stream, bytearray()).extend(packets[at : at + length])
        at += length
        if last:
            done.append(bytes(growing.pop(stream)))
    return done
