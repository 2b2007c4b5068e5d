"""Memory files: sealed bytes for another process that no process can change, and pages that one process writes."""

from __future__ import annotations

import fcntl
import os

from tlsrt.channels.control.figures import PAGE_BYTES
from tlsrt.config.files import write_all

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed_memory(data: bytes, name: str = "measurement") -> int:
    """Return a memfd that holds `data`, sealed (memfd_create(2), fcntl(2) F_ADD_SEALS). Raises OSError."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        write_all(descriptor, data)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def file_in_memory(source: int, most: int) -> int:
    """Return a sealed memfd with the content of a file, copied by the kernel; empty for -1. Raises OSError."""
    descriptor = os.memfd_create("file", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        offset = 0
        while source >= 0 and offset < most and (count := os.sendfile(descriptor, source, offset, most - offset)):
            offset += count
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def new_page() -> tuple[int, int]:
    """Return two descriptors of new memory of a fixed size: for its writer, and for reading only. Raises OSError."""
    writable = os.memfd_create("figures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(writable, PAGE_BYTES)
        fcntl.fcntl(writable, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return writable, os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.close(writable)
        raise
