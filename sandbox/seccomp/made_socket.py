"""Sockets of the network that the supervisor makes for a process: of its uid, and closed to strangers' datagrams.

An unbound UDP socket that sends without an address would be bound by that, and hear all who find its port. A filter
that drops everything stands before it until it is connected.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct

from tlsrt.sandbox.seccomp.granted_socket import owning_as

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_RETURN_0 = struct.pack("=HBBI", 0x06, 0, 0, 0)  # struct sock_filter: BPF_RET | BPF_K, 0 bytes


def make_socket(family: int, kind: int, uid: int | None) -> socket.socket:
    """socket(2), owned by `uid`."""
    with owning_as(uid):
        made = socket.socket(family, kind)
    try:
        if made.type == socket.SOCK_DGRAM:
            turn_away(made)
    except OSError:
        made.close()
        raise
    return made


def turn_away(datagrams: socket.socket) -> None:
    """Have the kernel drop what arrives: SO_ATTACH_FILTER, socket(7), which no process may set or remove itself."""
    program = ctypes.create_string_buffer(_RETURN_0)
    datagrams.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


def take_from_peer(datagrams: socket.socket) -> None:
    """Have it take datagrams: of its peer alone, now that it is connected."""
    try:
        datagrams.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except OSError as error:
        if error.errno != errno.ENOENT:  # connected before, or a listener
            raise
