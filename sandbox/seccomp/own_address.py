"""Whether an address is this host's own, as the kernel has it now. No packet is sent."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path

_UNKNOWN = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # no socket to ask with


def is_own_address(address: bytes) -> bool:
    """Tell whether an address (4 or 16 bytes) is this host's, or may be.

    A socket can be bound to each address that this host has, and sends to it from the same one. Where the host lets
    sockets bind to any address, an address that is not the first one of its network is not seen.
    """
    is_four = len(address) == 4
    family = socket.AF_INET if is_four else socket.AF_INET6
    host = socket.inet_ntop(family, address)
    try:
        if not _binds_anywhere(is_four):
            with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
                probe.bind((host, 0))
                return True
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return bool(probe.getsockname()[0] == host)
    except OSError as error:
        return error.errno in _UNKNOWN  # otherwise nothing leads there


def _binds_anywhere(is_four: bool) -> bool:
    try:
        found = Path(f"/proc/sys/net/ipv{4 if is_four else 6}/ip_nonlocal_bind").read_bytes()
    except OSError:
        return False
    return found.strip() not in (b"", b"0")
