"""A page for master_key that not even root can read from outside: memfd_secret(2), Linux 5.14.

The key goes from its file into the page by preadv(2), without a bytes object on the way, and the page is wiped and
unmapped as soon as the subkeys are derived. Where the kernel or RLIMIT_MEMLOCK does not give the page, ordinary
memory is used and wiped. Subkeys are ordinary memory in any case.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from types import TracebackType

from tlsrt.errors import ConfigError
from tlsrt.sandbox.syscalls import call

PAGE_BYTES = 4096


class SecretMemory:
    """Use as a context manager: it wipes and unmaps at the end."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | bytearray = _secret_memory() or bytearray(PAGE_BYTES)
        self._view = memoryview(self._memory)

    @property
    def is_secret(self) -> bool:
        """Tell whether the kernel gave a secret page."""
        return isinstance(self._memory, mmap.mmap)

    def read_from(self, descriptor: int) -> memoryview:
        """Fill the page from the start of a file and return the part that was filled; raise ConfigError."""
        try:
            count = os.preadv(descriptor, [self._view], 0)
            is_longer = bool(os.pread(descriptor, 1, PAGE_BYTES))
        except OSError as error:
            raise ConfigError(f"cannot read master_key: {error.strerror}") from None
        if is_longer:
            raise ConfigError(f"master_key has more than {PAGE_BYTES} bytes: replace it by 32 random bytes")
        return self._view[:count]

    def close(self) -> None:
        """Wipe and unmap. The views that `read_from` gave must be released."""
        self._view[:] = bytes(PAGE_BYTES)
        self._view.release()
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()

    def __enter__(self) -> SecretMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_secret(descriptor: int, limit: int) -> bytes:
    """Return a file from offset 0, at most `limit` bytes of it, and leave no other copy of it. Raises OSError."""
    buffer, filled = bytearray(min(limit, os.fstat(descriptor).st_size + 1)), 0
    with memoryview(buffer) as view:
        while filled < len(buffer) and (count := os.preadv(descriptor, [view[filled:]], filled)):
            filled += count
        data = bytes(view[:filled])
        view[:] = bytes(len(buffer))
    return data


def wipe(secret: bytes) -> None:
    """Overwrite the bytes of an object that is no longer used, so that they do not lie in freed memory.

    CPython keeps them behind the object's head; copies that libraries made of them are not found.
    """
    if len(secret) < 2:  # those are shared by all of the interpreter
        return
    ctypes.memset(id(secret) + bytes.__basicsize__ - 1, 0, len(secret))


def _secret_memory() -> mmap.mmap | None:
    try:
        descriptor = call("memfd_secret", os.O_CLOEXEC)
    except OSError:
        return None
    try:
        os.ftruncate(descriptor, PAGE_BYTES)
        page = mmap.mmap(descriptor, PAGE_BYTES, mmap.MAP_SHARED)
        page.madvise(mmap.MADV_DONTFORK)
    except OSError:  # RLIMIT_MEMLOCK or RLIMIT_FSIZE is too low
        return None
    finally:
        os.close(descriptor)
    return page
