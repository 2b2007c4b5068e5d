"""Sealed memory files: bytes for another process that no process can change."""

from __future__ import annotations

import fcntl
import os

from tlsrt.config.files import write_all

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed_memory(data: bytes, name: str = "measurement") -> int:
    """Return a memfd that holds `data`, sealed (memfd_create(2), fcntl(2) F_ADD_SEALS). Raises OSError."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    write_all(descriptor, data)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor
