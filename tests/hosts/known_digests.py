"""Digests of files that this process has hashed before, for the seal of a host that a test makes.

A seal reads all code that a host runs: some thousand files, the same for every host of a test process. A file that is
the same to the kernel, and was not changed since, has the digest from before. What the host itself measures is read
anew at each of its starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from tlsrt.config import measure

_real = measure._digest
_known: dict[tuple[str, int, int, int, int, int], bytes] = {}


@contextmanager
def known_digests() -> Iterator[None]:
    """Seal, or measure, with what is known."""
    with patch.object(measure, "_digest", _digest):
        yield


def _digest(path: str, buffer: bytearray, most: int = sys.maxsize) -> bytes | None:
    try:
        status = os.stat(path)
    except OSError:
        return _real(path, buffer, most)
    key = (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if (found := _known.get(key)) is None:
        found = _real(path, buffer, most)
        if found is None:  # a large file, which is asked for again
            return None
        _known[key] = found
    return found
