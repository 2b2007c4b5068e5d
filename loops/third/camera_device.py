"""Pictures of a granted device: bytes that hold JPEG pictures, or raw pictures of one size, as a webcam of V4L2 gives.

A driver of V4L2 that can be read gives one raw picture after the other, and keeps a few that are as old as the last
reader. A run of ffmpeg that began within a picture would show all of them shifted, so each one begins with a new one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator
from typing import Protocol

READ_BYTES = 64 << 10
STALE = 4  # pictures that drivers keep: videobuf2 reads into three buffers

_REASONS = {
    errno.EBUSY: "another program has it",
    errno.EINVAL: "its driver gives pictures to no one who only reads: v4l2loopback can stand between",
}


class NoPicturesError(Exception):
    """A device that cannot be read; the text says why."""


class Source(Protocol):
    """The part of a device that is needed, `tlsrt.Device`."""

    connections: int

    async def present(self) -> None: ...

    async def read(self, most: int) -> bytes: ...


class DevicePictures:
    """What a device gives to each run of a program; `picture_bytes` is the size of a raw picture, 0 for JPEG."""

    def __init__(self, device: Source, picture_bytes: int = 0) -> None:
        self._device = device
        self._size = picture_bytes
        self._connection = 0
        self._at = 0  # bytes of the present picture that were read

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Give what the device says until it goes away: the next run begins with a new picture.

        Raises NoPicturesError for a device that cannot be read.
        """
        await self._device.present()
        self._is_new()
        left_out = STALE * self._size + (-self._at % self._size if self._size else 0)
        while True:
            try:
                data = await self._device.read(self._size - self._at or READ_BYTES)
            except OSError as error:
                raise NoPicturesError(_REASONS.get(error.errno or 0) or os.strerror(error.errno or 0)) from None
            is_new = self._is_new()
            if self._size:
                self._at = (self._at + len(data)) % self._size
            if is_new:
                return
            kept = data[left_out:]
            left_out = max(0, left_out - len(data))
            if kept:
                yield kept

    def _is_new(self) -> bool:
        """Tell whether the device has come again, and begin to count its bytes anew then."""
        if self._device.connections == self._connection:
            return False
        self._connection, self._at = self._device.connections, 0
        return True
