"""Figures of a process as it writes them into a page of memory that another one reads, and buckets of durations. Pure.

The page is of a fixed size, and belongs to the supervisor that made it. Its writer puts length and checksum before what
it writes, so that a reader which comes in the middle of a change finds that out, whatever the writer is.
"""

from __future__ import annotations

import zlib

from tlsrt.errors import MisuseError, PeerError

PAGE_BYTES = 128 * 1024
_NUMBER = 4
PAGE_HEAD = 2 * _NUMBER
_FIRST_POWER = 5
BOUNDS_US = tuple(2**power for power in range(_FIRST_POWER, 25))  # 32 us to 17 s
BUCKETS = len(BOUNDS_US) + 1  # and the rest


def bucket_of(seconds: float) -> int:
    """Return the bucket that a duration is counted in."""
    return min(BUCKETS - 1, max(0, int(seconds * 1e6).bit_length() - _FIRST_POWER))


def encode_page(data: bytes) -> bytes:
    """Return what is written at the beginning of a page. Raises MisuseError for more than it holds."""
    if len(data) > PAGE_BYTES - PAGE_HEAD:
        raise MisuseError(f"{len(data)} bytes of figures do not fit a page of {PAGE_BYTES}")
    return len(data).to_bytes(_NUMBER, "little") + zlib.crc32(data).to_bytes(_NUMBER, "little") + data


def page_length_untrusted(head: bytes) -> int:
    """Return how much of a page is to be read, by its first bytes."""
    return min(PAGE_HEAD + int.from_bytes(head[:_NUMBER], "little"), PAGE_BYTES)


def decode_page_untrusted(page: bytes) -> bytes:
    """Return what a page holds, nothing for one not written yet. Raises PeerError if it is not whole."""
    length, checksum = (int.from_bytes(page[at : at + _NUMBER], "little") for at in (0, _NUMBER))
    data = page[PAGE_HEAD : PAGE_HEAD + length]
    if len(data) != length or zlib.crc32(data) != checksum:
        raise PeerError("torn")
    return data
