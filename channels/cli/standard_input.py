"""Standard input as a stream of bytes, as it comes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

from tlsrt.channels.calls.chunks import PART_BYTES
from tlsrt.channels.calls.read_in_thread import read_in_thread

_AHEAD = 4  # parts that are read before they are wanted


def standard_input(descriptor: int = 0) -> AsyncIterator[bytes]:
    """Yield what can be read, at once; it ends with the input. Raise OSError if it cannot be read.

    It reads the descriptor and not `sys.stdin`, whose lock a reader that waits would hold at the exit.
    """
    return read_in_thread(_parts(descriptor), "standard input", ahead=_AHEAD)


def _parts(descriptor: int) -> Iterator[bytes]:
    while part := os.read(descriptor, PART_BYTES):
        yield part
