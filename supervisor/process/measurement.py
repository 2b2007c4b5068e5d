"""Measures the host's files in a process of its own, while the supervisor imports what its children need.

Hashing takes about as long as a third of those imports, and neither needs the other: on two cores a start is that
much shorter. The child hashes, writes its result into a pipe and ends; it holds no key and talks to no other process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import msgpack

from tlsrt.config.files import write_all
from tlsrt.errors import ConfigError

_ENDED = (
    "the host could not be measured: the process that looked at its files ended before it was done (the kernel's log "
    "says whether memory was short); try again"
)
LIMIT = 64 * 1024 * 1024  # a list of a million files


class Measurement:
    """One measurement under way."""

    def __init__(self, measure: Callable[[], dict[str, bytes]]) -> None:
        """Fork; the caller must have a single thread, as the supervisor always has."""
        self._reader, writer = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                os.close(self._reader)
                write_all(writer, measured(measure))
                code = 0
            finally:
                os._exit(code)
        os.close(writer)

    def result(self) -> bytes:
        """Wait for the measurement and return it as msgpack; raises ConfigError with what could not be measured."""
        with os.fdopen(self._reader, "rb") as stream:
            answer = stream.read(LIMIT)
        with suppress(ChildProcessError):  # collected with the orphans already
            os.waitpid(self._pid, 0)
        return unpacked(answer)


def unpacked(answer: bytes) -> bytes:
    """Return the measurement that a child wrote, as msgpack; raise ConfigError with its error sentences instead."""
    if answer[:1] != b"+":
        sentences = msgpack.unpackb(answer[1:]) if answer[:1] == b"-" else [_ENDED]
        raise ConfigError(sentences)
    return answer[1:]


def measured(measure: Callable[[], dict[str, bytes]]) -> bytes:
    """Return what the child writes: `+` and the measurement, or `-` and sentences."""
    try:
        packed: bytes = msgpack.packb(measure(), use_bin_type=True)
        return b"+" + packed
    except ConfigError as error:
        sentences: bytes = msgpack.packb(list(error.problems))
        return b"-" + sentences
