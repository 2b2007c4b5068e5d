"""Sockets of the network as the kernel tells of them: sock_diag(7), by their cookies. Answers are untrusted.

A list may be asked for by all. To hear of the end of each socket, with what it has carried, and to end one, takes
CAP_NET_ADMIN.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tlsrt.errors import PeerError
from tlsrt.supervisor.helper.netlink import ACK, ERROR, REQUEST, attributes_untrusted, message, messages_untrusted

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY, _DESTROY, _DONE = 20, 21, 3
_DUMP = 0x300
_INFO = 2  # INET_DIAG_INFO
_REQUEST = struct.Struct("=BBBBI48s")  # struct inet_diag_req_v2
_HEAD = struct.Struct("=BBBB48s")  # struct inet_diag_msg: family, state, timer, retransmits, id
_HEAD_BYTES, _COOKIE_AT = 72, 40
_ALL_BUT_TIME_WAIT = 0xFFFFFFFF & ~(1 << 6)
_ACKNOWLEDGED_AT = 120  # tcpi_bytes_acked and tcpi_bytes_received, struct tcp_info
_DESTROY_GROUPS = 0b1111  # TCP and UDP, IPv4 and IPv6
_ANSWER_BYTES, _WAIT_S = 1 << 16, 1.0
KINDS = (
    (socket.AF_INET, socket.IPPROTO_TCP), (socket.AF_INET6, socket.IPPROTO_TCP), (socket.AF_INET, socket.IPPROTO_UDP),
    (socket.AF_INET6, socket.IPPROTO_UDP),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SocketInfo:
    """One socket; bytes are those that arrived at the other side, and those that came."""

    cookie: bytes
    sent: int  # 0 for UDP, of which the kernel counts none
    received: int
    family: int
    identity: bytes  # struct inet_diag_sockid


def sockets_now() -> dict[bytes, SocketInfo]:
    """Return all TCP and UDP sockets of our network namespace by their cookies. Raises OSError and PeerError."""
    found: dict[bytes, SocketInfo] = {}
    with _open() as kernel:
        for family, protocol in KINDS:
            body = _REQUEST.pack(family, protocol, 1 << (_INFO - 1), 0, _ALL_BUT_TIME_WAIT, bytes(48))
            kernel.send(message(_BY_FAMILY, REQUEST | _DUMP, 1, body))
            while (infos := parse_untrusted(kernel.recv(_ANSWER_BYTES))) is not None:
                found.update({one.cookie: one for one in infos})
    return found


def parse_untrusted(data: bytes) -> list[SocketInfo] | None:
    """Return the sockets of one datagram, None for the last one. Raises PeerError, and OSError for an errno."""
    infos: list[SocketInfo] = []
    for one in messages_untrusted(data):
        if one.type == _DONE:
            return infos or None
        if one.type == ERROR:
            raise _error_of(one.body)
        infos += _info_of(one.body)
    return infos


def _info_of(body: bytes) -> Iterator[SocketInfo]:
    if len(body) < _HEAD_BYTES:
        raise PeerError("bad_netlink")
    family, _, _, _, identity = _HEAD.unpack_from(body)
    info = attributes_untrusted(body[_HEAD_BYTES:]).get(_INFO, b"")
    sent = received = 0
    if len(info) >= _ACKNOWLEDGED_AT + 16:
        sent, received = struct.unpack_from("=QQ", info, _ACKNOWLEDGED_AT)
    yield SocketInfo(identity[_COOKIE_AT:], sent, received, family, identity)


def listen_for_ends() -> socket.socket:
    """Return a socket that hears of the end of every socket. Raises OSError without CAP_NET_ADMIN."""
    kernel = _open()
    try:
        kernel.setblocking(False)
        kernel.bind((0, _DESTROY_GROUPS))
    except OSError:
        kernel.close()
        raise
    return kernel


def end_socket(info: SocketInfo) -> None:
    """End a TCP socket of any process: its calls fail with ECONNABORTED. Raises OSError and PeerError."""
    body = _REQUEST.pack(info.family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF, info.identity)
    with _open() as kernel:
        kernel.send(message(_DESTROY, REQUEST | ACK, 1, body))
        for one in messages_untrusted(kernel.recv(_ANSWER_BYTES)):
            if one.type == ERROR and (error := _error_of(one.body)).errno:
                raise error


def _error_of(body: bytes) -> OSError:
    if len(body) < 4:
        raise PeerError("bad_netlink")
    number = -struct.unpack_from("=i", body)[0]
    return OSError(number, os.strerror(number) if number else "")


def _open() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _SOCK_DIAG)
    kernel.settimeout(_WAIT_S)
    return kernel
