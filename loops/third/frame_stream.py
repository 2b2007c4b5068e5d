"""Frames out of what a program writes: pictures with a length before each, or raw ones of one size. Pure.

`multipart` is what ffmpeg's muxer `mpjpeg` writes: `--BOUNDARY`, headers with `Content-length`, an empty line, the
picture. The program has read what a camera sent, and may be captured by it: its output is untrusted, too.
"""

from __future__ import annotations

import re
from typing import Protocol

HEADER_BYTES = 512  # of one picture; ffmpeg writes some 70
_LENGTH = re.compile(rb"(?:^|\r\n)content-length:[ \t]*(\d{1,9})[ \t]*(?:\r\n|$)", re.IGNORECASE)


class DamagedStreamError(ValueError):
    """Output that holds no frames, or too large ones; the text says which."""


class FrameStream(Protocol):
    """Output that is cut into frames."""

    def feed_untrusted(self, data: bytes) -> list[bytes]:
        """Return the frames that end in this piece. Raises DamagedStreamError, and is of no use after that."""


class RawFrames:
    """Frames of one size, one after the other."""

    def __init__(self, frame_bytes: int) -> None:
        self._size = frame_bytes
        self._rest = bytearray()

    def feed_untrusted(self, data: bytes) -> list[bytes]:
        """Return the frames that end in this piece; it cannot fail."""
        self._rest += data
        count = len(self._rest) // self._size
        found = [bytes(self._rest[at * self._size : (at + 1) * self._size]) for at in range(count)]
        del self._rest[: count * self._size]
        return found


class MultipartFrames:
    """Pictures, each behind a header that says its length."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()
        self._length = -1  # of the picture that is being read; -1 while its header is

    def feed_untrusted(self, data: bytes) -> list[bytes]:
        """Return the frames that end in this piece. Raises DamagedStreamError for what is no header, or too large."""
        self._rest += data
        found: list[bytes] = []
        while self._has_header():
            if len(self._rest) < self._length:
                break
            found.append(bytes(self._rest[: self._length]))
            del self._rest[: self._length]
            self._length = -1
        return found

    def _has_header(self) -> bool:
        if self._length >= 0:
            return True
        end = self._rest.find(b"\r\n\r\n", 0, HEADER_BYTES)
        if end < 0:
            if len(self._rest) >= HEADER_BYTES:
                raise DamagedStreamError("what it writes is no pictures")
            return False
        match = _LENGTH.search(bytes(self._rest[:end]))
        if match is None:
            raise DamagedStreamError("what it writes is no pictures: one has no length")
        self._length = int(match[1])
        del self._rest[: end + 4]
        if not 0 < self._length <= self._most:
            raise DamagedStreamError(f"a picture of {self._length} bytes, where {self._most} are the most")
        return True
