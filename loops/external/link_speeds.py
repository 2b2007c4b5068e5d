"""Speeds of links, ethtool(8): asked over one socket that stays open, as for this process each new one costs a turn.

ETHTOOL_GSET is the oldest question, which every kernel answers, the newest ones out of what they have today.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from collections.abc import Iterable

_SIOCETHTOOL, _GSET = 0x8946, 1
_COMMAND_BYTES = 44  # struct ethtool_cmd
_LOW, _HIGH = struct.Struct("=12xH"), struct.Struct("=28xH")  # Mbit/s, in two halves
_ASK = struct.Struct("=16sQ16x")  # struct ifreq: name, address of the command
_NAME_BYTES = 15
_UNKNOWN = (0, 0xFFFF, 0xFFFFFFFF)


class LinkSpeeds:
    """Asks the kernel; `close` lets go of the socket."""

    def __init__(self) -> None:
        self._socket = -1

    def of(self, names: Iterable[bytes]) -> dict[bytes, int]:
        """Return the speeds in Mbit/s of those links that have one."""
        try:
            if self._socket < 0:
                self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC).detach()
        except OSError:  # a host that gives no such socket
            return {}
        return {name: speed for name in names if (speed := _speed(self._socket, name)) is not None}

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket >= 0:
            os.close(self._socket)
            self._socket = -1


def _speed(asked: int, name: bytes) -> int | None:
    command = array.array("B", struct.pack("=I", _GSET).ljust(_COMMAND_BYTES, b"\0"))
    try:
        fcntl.ioctl(asked, _SIOCETHTOOL, _ASK.pack(name[:_NAME_BYTES], command.buffer_info()[0]))
    except OSError:  # it has no such thing, as lo, or has vanished
        return None
    said = command.tobytes()
    speed = _HIGH.unpack_from(said)[0] << 16 | _LOW.unpack_from(said)[0]
    return None if speed in _UNKNOWN else speed
