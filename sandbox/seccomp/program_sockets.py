"""Sockets of one run of a program, beside those of any process: listeners that it binds itself, and NOTIFY_SOCKET.

Theory of operation. Programs bind by themselves, and most can inherit nothing. So `bind` to a granted place puts the
socket that the supervisor has bound there, and keeps, in the place of the program's own: under the same number, with
its O_NONBLOCK. Its `listen` is answered by what that socket is, and every other place is refused.

NOTIFY_SOCKET names nothing that exists. A datagram socket of the UNIX family is one end of a pair, whose other end the
component has: a write to it arrives there, and to connect it is answered as if done. A message with an address is
copied (at most 4 KiB, never its descriptors) and sent over that pair, if it is addressed to that name.

A datagram that names an address leaves from a granted listener with `replies`, and from no other socket: it is copied
with its address, and sent by the supervisor from its own descriptor of the same socket. Who may hear it is decided by
the kernel, which has seen who wrote to that socket (see `reply_filter.py`); what the program changes meanwhile in its
memory changes nothing. Flags and control data are left out: it leaves from the address that the listener is bound to,
or else from the one that its route has.

A program with `netlink` gets sockets of the protocols that it was granted and of no other, made in our network
namespace, while its own is empty: the kernel asks for CAP_NET_ADMIN of who made the socket and of who sends on it, and
acts in the namespace of the socket. So its capability reaches what these protocols say, and no device, ioctl or packet.

A program may have children. So the process whose memory and descriptors are meant is that of the task that calls.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from tlsrt.sandbox.seccomp.broker import (
    Broker,
    BrokerReply,
    Made,
    Outcome,
    protocol_of,
    read_memory,
    refused,
    target_of,
)
from tlsrt.sandbox.seccomp.notify import Notification
from tlsrt.sandbox.seccomp.self_pair import Replacement

NOTIFY_PATH = "/run/tlsrt/notify"  # in the environment of a program with `notifies`
NOTICE_BYTES = 4096
_STREAM_BYTES = 16 << 10  # of one sendmsg(2) on a stream; more is sent by the next one
_MSGHDR = struct.Struct("=QI4xQQQQi4x")  # name, its length, vectors, how many, control, its length, flags
_IOVEC = struct.Struct("=QQ")
_IOVECS_MOST = 16
_DATAGRAM_BYTES = 65507  # the most that UDP carries
_PIDFD_THREAD = os.O_EXCL  # Linux 6.9
_KIND = 0xF  # SOCK_TYPE_MASK
NETLINK_PROTOCOLS: Mapping[str, int] = {"route": 0, "netfilter": 12}  # netlink(7)
_NETLINK_KINDS = (int(socket.SOCK_RAW), int(socket.SOCK_DGRAM))  # the same to the kernel
_SOCKADDR_NL = struct.Struct("=HHII")  # family, padding, number, groups
_INTERNET = (int(socket.AF_INET), int(socket.AF_INET6))

Place = tuple[str, bytes, int]  # protocol, address, port


def place_of(protocol: str, host: str, port: int) -> Place:
    """Return a place as a program names it in bind(2)."""
    return protocol, socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host), port


@dataclass(frozen=True, slots=True)
class ProgramSockets:
    """What one run was given. `listeners` are descriptors of its own, open as long as it lives; not closed here."""

    notices: socket.socket | None = None
    listeners: Mapping[Place, int] = field(default_factory=dict[Place, int])
    replying: frozenset[int] = frozenset()  # those of `listeners` that the kernel holds to replies
    replies_per_s: int = 0  # of all of them
    netlink: frozenset[int] = frozenset()  # protocols of netlink(7) that it speaks with the kernel of the host

    def carry_out(self, call: Notification, broker: Broker, is_valid: Callable[[], bool]) -> Outcome:
        """Answer a call, with the broker for what is not of a program alone."""
        try:
            if call.call == "socket":
                return self._socket(call, broker, is_valid)
            with _process_of(call, broker) as mine:
                return self._carry_out(call, mine, is_valid)
        except OSError as error:
            return BrokerReply(error=error.errno or errno.EPERM)

    def _carry_out(self, call: Notification, broker: Broker, is_valid: Callable[[], bool]) -> Outcome:
        if call.call == "sendmsg":
            return self._send_message(call, broker, is_valid)
        if call.call == "sendto":
            address = broker.read_address(call, 4)
            vectors = [(call.arguments[1], call.arguments[2])]
            return self._send(call.arguments[0] & 0xFFFFFFFF, broker, address, vectors, is_valid)
        if call.call not in ("bind", "connect"):
            return broker.carry_out(call, is_valid)
        address = broker.read_address(call, 1)
        with broker.duplicate(call.arguments[0] & 0xFFFFFFFF) as own:
            if not is_valid():
                return BrokerReply(error=errno.EINTR)
            if own.family == socket.AF_UNIX:
                is_known = call.call == "connect" and self._is_notify(address)
                return BrokerReply() if is_known else BrokerReply(error=errno.ECONNREFUSED)
            if own.family == socket.AF_NETLINK:
                return _bind_netlink(own, address) if call.call == "bind" else BrokerReply(error=errno.EPERM)
            if call.call == "bind" and (listener := self._listener(own, address)) is not None:
                return _in_place_of(own, call.arguments[0] & 0xFFFFFFFF, listener)
        return broker.carry_out(call, is_valid)

    def _socket(self, call: Notification, broker: Broker, is_valid: Callable[[], bool]) -> Outcome:
        family, kind = (value & 0xFFFFFFFF for value in call.arguments[:2])
        if family == socket.AF_UNIX and kind & _KIND == socket.SOCK_DGRAM and self.notices is not None:
            return Made(self.notices.dup())
        if family == socket.AF_NETLINK and kind & _KIND in _NETLINK_KINDS and call.arguments[2] in self.netlink:
            return Made(socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, call.arguments[2]))
        if family in _INTERNET and (broker.egress or broker.names or self.listeners):
            return broker.carry_out(call, is_valid)
        return BrokerReply(error=errno.EPERM)  # what software tries that we do not know is no offence

    def _listener(self, own: socket.socket, address: bytes) -> int | None:
        target = target_of(struct.unpack_from("=H", address)[0], address)
        return None if target is None else self.listeners.get((protocol_of(own), *target))

    def _is_notify(self, address: bytes) -> bool:
        (family,) = struct.unpack_from("=H", address)
        return self.notices is not None and family == socket.AF_UNIX and _path_of(address) == NOTIFY_PATH.encode()

    def _send_message(self, call: Notification, broker: Broker, is_valid: Callable[[], bool]) -> BrokerReply:
        name, length, start, count, *_ = _MSGHDR.unpack(read_memory(broker.pid, call.arguments[1], _MSGHDR.size))
        if count > _IOVECS_MOST:
            return BrokerReply(error=errno.EMSGSIZE)
        if name and not 2 <= length <= 128:
            return BrokerReply(error=errno.ENOSYS)
        address = read_memory(broker.pid, name, length) if name else b""
        pieces = read_memory(broker.pid, start, _IOVEC.size * count) if count else b""
        vectors = list(_IOVEC.iter_unpack(pieces))
        number = call.arguments[0] & 0xFFFFFFFF
        if not address:
            return _send_on_stream(number, broker, vectors, is_valid)
        return self._send(number, broker, address, vectors, is_valid)

    def _send(
        self, number: int, broker: Broker, address: bytes, vectors: list[tuple[int, int]], is_valid: Callable[[], bool]
    ) -> BrokerReply:  # fmt: skip
        (family,) = struct.unpack_from("=H", address)
        if self.replying and family in _INTERNET:
            return self._reply(number, broker, target_of(family, address), vectors, is_valid)
        if not self._is_notify(address) or self.notices is None:
            return refused("send to an address of its own choice: connect the socket first")
        if not 0 < sum(length for _, length in vectors) <= NOTICE_BYTES:
            return BrokerReply(error=errno.EMSGSIZE)
        notice = b"".join(read_memory(broker.pid, start, length) for start, length in vectors if length)
        if not is_valid():
            return BrokerReply(error=errno.EINTR)
        return BrokerReply(self.notices.send(notice, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL))

    def _reply(
        self, number: int, broker: Broker, target: tuple[bytes, int] | None, vectors: list[tuple[int, int]],
        is_valid: Callable[[], bool],
    ) -> BrokerReply:  # fmt: skip
        """Send a copy of a datagram from the listener that this number of the program's stands for. Raises OSError."""
        if target is None:
            return BrokerReply(error=errno.EINVAL)
        if sum(length for _, length in vectors) > _DATAGRAM_BYTES:
            return BrokerReply(error=errno.EMSGSIZE)
        datagram = b"".join(read_memory(broker.pid, start, length) for start, length in vectors if length)
        with broker.duplicate(number) as own:
            inode = os.fstat(own.fileno()).st_ino
        listener = next((one for one in self.replying if os.fstat(one).st_ino == inode), None)
        if listener is None:
            return refused("send to an address of its own choice from a socket that is no listener with `replies`")
        if not is_valid():
            return BrokerReply(error=errno.EINTR)
        with socket.socket(fileno=os.dup(listener)) as held:
            host, port = target
            if len(host) != (16 if held.family == socket.AF_INET6 else 4):
                return BrokerReply(error=errno.EAFNOSUPPORT)
            where = socket.inet_ntop(held.family, host), port
            return BrokerReply(held.sendto(datagram, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, where))


def _send_on_stream(
    number: int, broker: Broker, vectors: list[tuple[int, int]], is_valid: Callable[[], bool]
) -> BrokerReply:
    """Send on a connected stream what the program could send there by write(2), as libpulse does. Raises OSError.

    What comes beside the bytes (SCM_CREDENTIALS) is left out: the kernel takes none of it on such a socket. For others
    the C library has other ways; one that blocks would have the supervisor wait.
    """
    with broker.duplicate(number) as own:
        if own.family not in _INTERNET or own.type & _KIND != socket.SOCK_STREAM or os.get_blocking(own.fileno()):
            return BrokerReply(error=errno.ENOSYS)
        data = b""
        for start, length in vectors:
            data += read_memory(broker.pid, start, min(length, _STREAM_BYTES - len(data))) if length else b""
            if len(data) >= _STREAM_BYTES:
                break
        if not is_valid():
            return BrokerReply(error=errno.EINTR)
        return BrokerReply(own.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL))


def _bind_netlink(own: socket.socket, address: bytes) -> BrokerReply:
    """Have the kernel choose its number; to no groups, on which others hear what is changed."""
    if len(address) < _SOCKADDR_NL.size or _SOCKADDR_NL.unpack_from(address)[2:] != (0, 0):
        return refused("bind a netlink socket to groups, or to a number of its own choice")
    own.bind((0, 0))
    return BrokerReply()


def _path_of(address: bytes) -> bytes:
    return address[2:].partition(b"\0")[0]


@contextmanager
def _process_of(call: Notification, broker: Broker) -> Generator[Broker, None, None]:
    """Give the broker of the task that calls: of the first process, or of one that it has forked.

    Before Linux 6.9 there is none for a thread that is not the first of its process, and the first process is taken.
    What was opened is the right task if `is_valid` says so afterwards.
    """
    pidfd = -1 if call.task == broker.pid else _open_task(call.task)
    if pidfd < 0:
        yield broker
        return
    try:
        yield replace(broker, pid=call.task, pidfd=pidfd)
    finally:
        os.close(pidfd)


def _open_task(task: int) -> int:
    """pidfd_open(2): return a descriptor of a task, -1 where there is none."""
    for flags in (_PIDFD_THREAD, 0):
        with suppress(OSError):
            return os.pidfd_open(task, flags)
    return -1


def _in_place_of(own: socket.socket, number: int, listener: int) -> Replacement:
    """Return the supervisor's socket for the number of the program's own, with the mode of that. Raises OSError."""
    flags = fcntl.fcntl(own, fcntl.F_GETFL)
    copy = os.dup(listener)
    try:
        held = socket.socket(fileno=copy)
    except OSError:  # no socket: the supervisor could not have it again
        os.close(copy)
        raise
    held.setblocking(bool(~flags & os.O_NONBLOCK))
    return Replacement(((number, held),))
