"""Broker: calls that the supervisor carries out for a process: socket, connect, bind, netlink.

Theory of operation. A filter sees registers, not the address behind a pointer, and what is looked at in another
process may change before the kernel looks again. So nothing is allowed after a look: the broker copies the address
(at most 128 bytes, of fixed layout), takes a duplicate of the socket, pidfd_getfd(2), and makes the call itself, with
the copy. The duplicate is the same open socket, so the process finds it connected. A blocking connect is begun without
blocking, and answered when the socket says how it went. The process shares the socket's flags and may change them just
then, so the socket has a time limit for sending too (SO_SNDTIMEO, which counts for connect(2)): it may not set that
itself, nor SO_LINGER, which would make our closing wait. So a lost race costs the supervisor one tick of the clock.

    socket    a TCP or UDP socket, made in our network namespace and added to the process, whose own one is empty. It
              belongs to the uid of the process, as rules of the host's packet filter see it. Unbound it is of no use
              but to connect; a UDP socket, which a send without an address would bind, takes no datagram until then
    listen    nothing is done: a socket that the process inherits listens already, and no other one may. A proxy of a
              bus gets the supervisor's own socket in the place of the one that it wants to have listen
    connect   an address that an egress rule of the profile lists, or that a name of one has now: the one that was
              judged, also as for being this host's own (`own_address.py`); the process's own
              channel to Primary; or a socket of another program that it was granted, as the process itself (see
              `granted_socket.py`); its proxy for a bus
    bind      a netlink socket without groups; nothing of the network, since that would be a second door. Binding to no
              address and port 0, as libraries do before they connect, is answered as if done; so is binding a TCP
              socket to port 0 of loopback, see `self_pair.py`, and a UNIX socket to any name where a bus is granted
    sendto    dump requests for links, addresses and routes, to the kernel, as getifaddrs(3) and getaddrinfo(3) make
              them (what is said over netlink without an address goes there too, and changes need a capability)

The reader of another process needs CAP_SYS_PTRACE over it, which the supervisor has (root, or of its user namespace).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tlsrt.config.egress import EgressRule, egress_rule_for
from tlsrt.config.name_rules import NameRule, Rule
from tlsrt.config.trusted_path import trusted_uids
from tlsrt.sandbox.seccomp.budget_account import BudgetAccount
from tlsrt.sandbox.seccomp.granted_socket import acting_as, open_socket
from tlsrt.sandbox.seccomp.made_socket import make_socket, take_from_peer, turn_away
from tlsrt.sandbox.seccomp.name_pins import NamePins, plain_address
from tlsrt.sandbox.seccomp.notify import Notification, take_descriptor
from tlsrt.sandbox.seccomp.own_address import is_own_address
from tlsrt.sandbox.seccomp.self_pair import LOOPBACK, Replacement, SelfPairs, connected_pair
from tlsrt.sandbox.syscalls import call, connect

_NAME = b"primary.sock"
CHANNEL = b"/channel/" + _NAME  # where a loop finds Primary, inside its root; by its own path if it has none
_NAME_SERVER = 53
# Daemons that the C library and libuuid look for before they do something by themselves; none is in this root.
_HELPERS = frozenset({b"/var/run/nscd/socket", b"/run/uuidd/request", b"/var/run/uuidd/request"})
_LONGEST_ADDRESS = 128  # struct sockaddr_storage
_LONGEST_QUESTION = 64
_RTM_GET = frozenset({18, 22, 26})  # RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE
_DUMP_REQUEST = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NETLINK = struct.Struct("=HHII")  # struct sockaddr_nl: family, padding, pid, groups
_NLMSGHDR = struct.Struct("=IHHII")  # length, type, flags, sequence, pid
_SO_PROTOCOL, _SO_DOMAIN = 38, 39
_TYPE = 0xF  # SOCK_TYPE_MASK
_KINDS = frozenset(
    (int(kind), protocol)
    for kind, own in ((socket.SOCK_STREAM, socket.IPPROTO_TCP), (socket.SOCK_DGRAM, socket.IPPROTO_UDP))
    for protocol in (0, int(own))
)
_ONE_TICK, _NO_LIMIT = struct.pack("@ll", 0, 1), struct.pack("@ll", 0, 0)  # struct timeval


@dataclass(frozen=True, slots=True)
class BrokerReply:
    """How a call ends: its value, or an errno. `refused` says in words what the rules did not allow.

    `wanted` is a host that no egress rule lists, as a rule would list it: a mistake in the configuration, perhaps.
    """

    value: int = 0
    error: int = 0
    refused: str = ""
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A socket (owned from here on) of which the process gets a duplicate, as the value of its call."""

    socket: socket.socket


@dataclass(frozen=True, slots=True)
class Connecting:
    """A blocking connect under way. Answered with `finish` once the socket (owned from here on) is writable."""

    socket: socket.socket

    def finish(self) -> BrokerReply:
        """Return how it went, and close our duplicate."""
        with self.socket:
            return BrokerReply(error=self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


Outcome = BrokerReply | Connecting | Made | Replacement


@dataclass(frozen=True, slots=True)
class Broker:
    """Carries out the calls of one process. `channel` is the folder on the host of its /channel, if it has one."""

    pid: int  # as numbered in our pid namespace
    pidfd: int
    egress: tuple[EgressRule, ...]
    channel: Path | None
    uid: int | None = None  # of the process, where it has another one than we
    sockets: frozenset[str] = frozenset()  # UNIX sockets of other programs
    names: tuple[NameRule, ...] = ()
    pins: NamePins = field(default_factory=NamePins)
    buses: Mapping[str, Path] = field(default_factory=dict[str, Path])  # those of buses -> the socket of its proxy
    account: BudgetAccount | None = None  # of its budgets
    door: socket.socket | None = None  # of such a proxy: it listens, whatever socket is to
    pairs: SelfPairs = field(default_factory=SelfPairs)
    most: int | None = None  # number that no descriptor of ours for a connection under way reaches

    def carry_out(self, call: Notification, is_valid: Callable[[], bool]) -> Outcome:
        """Look, and make the call if the rules allow it. `is_valid` tells whether the task still waits for it."""
        if call.call == "listen":
            return self._listen(call)
        if call.call == "socket":
            return self._socket(*(value & 0xFFFFFFFF for value in call.arguments[:3]))
        try:
            address = self.read_address(call, 4 if call.call == "sendto" else 1)
            message = self._read_message(call) if call.call == "sendto" else b""
            duplicate = self.duplicate(call.arguments[0] & 0xFFFFFFFF)
        except OSError as error:
            return BrokerReply(error=error.errno or errno.EPERM)
        with duplicate:
            if not is_valid():  # another task may have its number by now
                return BrokerReply(error=errno.EINTR)
            try:
                number = call.arguments[0] & 0xFFFFFFFF
                if call.call == "connect":
                    return self._connect(duplicate, number, address)
                if call.call == "bind":
                    return self._bind(duplicate, number, address)
                return _ask_netlink(duplicate, address, message, call.arguments[3])
            except OSError as error:
                return BrokerReply(error=error.errno or errno.EPERM)

    def _socket(self, family: int, kind: int, protocol: int) -> BrokerReply | Made:
        if not is_of_the_network(family, kind, protocol):
            what = f"make a socket of family {family}, type {kind & _TYPE} and protocol {protocol}"
            return BrokerReply(error=errno.EPERM, refused=what)
        try:
            return Made(make_socket(family, kind, self.uid))
        except OSError as error:
            return BrokerReply(error=error.errno or errno.EPERM)

    def _listen(self, call: Notification) -> BrokerReply | Replacement:
        """Answer for a socket that listens already; of no other socket of the process does this make a door."""
        number = call.arguments[0] & 0xFFFFFFFF
        try:
            if self.door is not None:
                return Replacement(((number, self.door.dup()),))
            with self.duplicate(number) as duplicate:
                listens = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            return BrokerReply(error=error.errno or errno.EPERM)
        return BrokerReply() if listens else refused("have a socket listen that is none of its listeners")

    def duplicate(self, number: int) -> socket.socket:
        """Return the same open socket; raise OSError for what is none, and keep nothing of it."""
        descriptor = take_descriptor(self.pidfd, number)
        try:
            return socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            raise

    def read_address(self, call: Notification, at: int) -> bytes:
        """Return the address that two registers tell of. Raises OSError for what can be none."""
        length = call.arguments[at + 1] & 0xFFFFFFFF
        if not 2 <= length <= _LONGEST_ADDRESS:
            raise OSError(errno.EINVAL, "no such address")
        return read_memory(self.pid, call.arguments[at], length)

    def _read_message(self, call: Notification) -> bytes:
        length = call.arguments[2]
        if not _NLMSGHDR.size < length <= _LONGEST_QUESTION:
            raise OSError(errno.EACCES, "too long for a question")
        return read_memory(self.pid, call.arguments[1], length)

    def _bind(self, duplicate: socket.socket, number: int, address: bytes) -> BrokerReply:
        (family,) = struct.unpack_from("=H", address)
        domain = duplicate.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN)
        if domain == socket.AF_UNIX and (self.buses or self.sockets):
            return BrokerReply()
        if domain not in (socket.AF_INET, socket.AF_INET6):
            return _bind_netlink(duplicate, address)
        target = target_of(family, address)
        if target is None or family != domain:
            return BrokerReply(error=errno.EAFNOSUPPORT)
        host, port = target
        if port:
            return refused(f"bind {_place(family, *target)}; a socket that listens is asked for by `listen`")
        if host in LOOPBACK and protocol_of(duplicate) == "tcp":
            self.pairs.bind(duplicate, number)
        elif any(host):
            return BrokerReply(error=errno.EADDRNOTAVAIL)
        return BrokerReply()

    def _pair(self, duplicate: socket.socket, number: int) -> Outcome:
        """Connect a process to itself, if it has bound a socket for that."""
        bound = self.pairs.take()
        if bound is None:
            return BrokerReply(error=errno.ECONNREFUSED)
        inode, listener = bound
        with self.duplicate(listener) as its:
            if os.fstat(its.fileno()).st_ino != inode:
                return BrokerReply(error=errno.ECONNREFUSED)
        return connected_pair(listener, number, fcntl.fcntl(duplicate, fcntl.F_GETFL))

    def _connect(self, duplicate: socket.socket, number: int, address: bytes) -> Outcome:
        (family,) = struct.unpack_from("=H", address)
        domain = duplicate.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN)
        if domain == socket.AF_UNIX:
            return self._connect_channel(duplicate, address)
        if domain not in (socket.AF_INET, socket.AF_INET6):
            return refused(f"connect a socket of family {domain}")
        if family == socket.AF_UNSPEC:  # ends an association, and reaches no host
            if protocol_of(duplicate) == "udp":  # a listener of its own is deaf as well, until its next process
                turn_away(duplicate)
            return _begin(duplicate, address)
        target = target_of(family, address)
        if target is None:
            return BrokerReply(error=errno.EAFNOSUPPORT)
        protocol = protocol_of(duplicate)
        if protocol == "tcp" and target[1] == 0 and target[0] in LOOPBACK:
            return self._pair(duplicate, number)
        if target[1] == 0:  # nothing is there, and no rule could list it
            return BrokerReply(error=errno.EADDRNOTAVAIL)
        rule = self._rule_for(protocol, *target)
        if rule is None:
            if protocol == "udp" and target[1] != _NAME_SERVER:  # getaddrinfo(3) tries every address so, and sends
                return BrokerReply(error=errno.EACCES)  # nothing: no offence
            if not protocol:
                return refused(f"connect to {_place(family, *target)} by a protocol that is neither TCP nor UDP")
            suffix = "/udp" if protocol == "udp" else ""
            return BrokerReply(error=errno.EACCES, wanted=f"{_place(family, *target)}{suffix}")
        if self.account is not None and not self.account.take(rule, duplicate):
            return BrokerReply(error=errno.EDQUOT)
        outcome = _begin(duplicate, address, self.most if protocol == "tcp" else None)
        if protocol == "udp" and outcome == BrokerReply():
            take_from_peer(duplicate)
        return outcome

    def _rule_for(self, protocol: str, host: bytes, port: int) -> Rule | None:
        is_own = partial(is_own_address, plain_address(host))
        by_address = egress_rule_for(self.egress, protocol, host, port, is_own=is_own)
        return by_address or self.pins.rule_for(self.names, protocol, host, port, is_own=is_own)

    def _connect_channel(self, duplicate: socket.socket, address: bytes) -> BrokerReply | Connecting:
        path = address[2:].partition(b"\0")[0]
        if path in _HELPERS:
            return BrokerReply(error=errno.ENOENT)
        known = CHANNEL, b"" if self.channel is None else os.fsencode(self.channel / os.fsdecode(_NAME))
        name = os.fsdecode(path)
        if name not in self.sockets and name not in self.buses:
            name = _by_its_own_name(name)
        if name in self.sockets and struct.unpack_from("=H", address)[0] == socket.AF_UNIX:
            return self._connect_granted(duplicate, name)
        if name in self.buses and struct.unpack_from("=H", address)[0] == socket.AF_UNIX:
            return _connect_in(duplicate, self.buses[name].parent, os.fsencode(self.buses[name].name))
        if self.channel is None or path not in known or struct.unpack_from("=H", address)[0] != socket.AF_UNIX:
            return refused("connect to a UNIX socket other than its channel")
        return _connect_in(duplicate, self.channel, _NAME)

    def _connect_granted(self, duplicate: socket.socket, path: str) -> BrokerReply | Connecting:
        """Connect as the process itself, in whose right everything happens here: the way there, too."""
        trusted = trusted_uids()  # while we are ourselves
        with acting_as(self.uid):
            found = open_socket(path, trusted)
            try:
                return _begin(duplicate, _by_descriptor(found))
            finally:
                os.close(found)


def _by_its_own_name(path: str) -> str:
    """Return /run/X for /var/run/X, a link that libraries have in their constants: of D-Bus, for one. Pure."""
    return path.removeprefix("/var") if path.startswith("/var/run/") else path


def _connect_in(duplicate: socket.socket, place: Path, name: bytes) -> BrokerReply | Connecting:
    """Connect to a socket of our own."""
    folder = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _begin(duplicate, _by_descriptor(folder, b"/" + name))
    finally:
        os.close(folder)


def _by_descriptor(descriptor: int, name: bytes = b"") -> bytes:
    """Return the address of a UNIX socket by what is open already: longer names would not fit, and may be moved."""
    return struct.pack("=H", socket.AF_UNIX) + f"/proc/self/fd/{descriptor}".encode() + name + b"\0"


def is_of_the_network(family: int, kind: int, protocol: int) -> bool:
    """Tell whether these arguments of socket(2) are those of a TCP or UDP socket. Pure."""
    plain = kind & ~(socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    return family in (socket.AF_INET, socket.AF_INET6) and (plain, protocol) in _KINDS


def _begin(duplicate: socket.socket, address: bytes, most: int | None = None) -> BrokerReply | Connecting:
    """connect(2) without waiting, whatever the socket's own mode is; the socket keeps its mode.

    One that would be waited for is not begun with a descriptor of `most` or more.
    """
    flags = fcntl.fcntl(duplicate, fcntl.F_GETFL)
    is_blocking = not flags & os.O_NONBLOCK
    if is_blocking and most is not None and duplicate.fileno() >= most:
        return BrokerReply(error=errno.EAGAIN)
    duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _ONE_TICK)
    if is_blocking:
        fcntl.fcntl(duplicate, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        error = connect(duplicate.fileno(), address)
    finally:
        if is_blocking:
            fcntl.fcntl(duplicate, fcntl.F_SETFL, flags)
        duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _NO_LIMIT)
    if error == errno.EINPROGRESS and is_blocking:
        return Connecting(socket.socket(fileno=duplicate.detach()))
    return BrokerReply(error=error)


def protocol_of(duplicate: socket.socket) -> str:
    kinds = {int(socket.SOCK_STREAM): "tcp", int(socket.SOCK_DGRAM): "udp"}
    return kinds.get(duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE), "")


def _bind_netlink(duplicate: socket.socket, address: bytes) -> BrokerReply:
    if not _is_netlink(duplicate):
        return refused("bind a socket of the network")
    if len(address) < _NETLINK.size or _NETLINK.unpack_from(address)[::3] != (socket.AF_NETLINK, 0):
        return refused("bind a netlink socket to groups; changes are heard by `events: [{kind: network, ...}]`")
    duplicate.bind((0, 0))
    return BrokerReply()


def _ask_netlink(duplicate: socket.socket, address: bytes, message: bytes, flags: int) -> BrokerReply:
    if not _is_netlink(duplicate):
        return refused("send to an address of its own choice: connect the socket first")
    length, kind, how, _, _ = _NLMSGHDR.unpack_from(message)
    is_question = length == len(message) and kind in _RTM_GET and how & _DUMP_REQUEST == _DUMP_REQUEST
    to_kernel = len(address) >= _NETLINK.size and _NETLINK.unpack_from(address)[2:] == (0, 0)
    if not (is_question and to_kernel and flags & ~socket.MSG_DONTWAIT == 0):
        return refused("say something over netlink that is no question for links, addresses or routes")
    return BrokerReply(duplicate.sendto(message, socket.MSG_DONTWAIT, (0, 0)))


def _is_netlink(duplicate: socket.socket) -> bool:
    domain, protocol = (duplicate.getsockopt(socket.SOL_SOCKET, option) for option in (_SO_DOMAIN, _SO_PROTOCOL))
    return (domain, protocol) == (socket.AF_NETLINK, 0)  # NETLINK_ROUTE


def target_of(family: int, address: bytes) -> tuple[bytes, int] | None:
    """Return address and port of a sockaddr_in or sockaddr_in6."""
    size = {int(socket.AF_INET): (16, 4), int(socket.AF_INET6): (28, 8)}.get(family)
    if size is None or len(address) < size[0]:
        return None
    (port,) = struct.unpack_from("!H", address, 2)
    return address[size[1] : size[1] + (4 if family == socket.AF_INET else 16)], port


def _place(family: int, host: bytes, port: int) -> str:
    text = socket.inet_ntop(family, host)
    return f"[{text}]:{port}" if family == socket.AF_INET6 else f"{text}:{port}"


def refused(what: str) -> BrokerReply:
    return BrokerReply(error=errno.EACCES, refused=what)


# System calls


def read_memory(pid: int, address: int, length: int) -> bytes:
    """process_vm_readv(2): copy from another process. Raises OSError, EFAULT for less than `length` bytes."""
    buffer = ctypes.create_string_buffer(length)
    local = struct.pack("=QQ", ctypes.addressof(buffer), length)
    remote = struct.pack("=QQ", address, length)
    one = ctypes.c_ulong(1)
    read = call("process_vm_readv", ctypes.c_int(pid), local, one, remote, one, ctypes.c_ulong(0))
    if read != length:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    return buffer.raw
