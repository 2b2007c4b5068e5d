"""Libraries that bind by themselves: bind(2) to the place of a granted listener gives that listener.

A convenience and no guard: a process can bind nothing, and what it inherits is decided outside. Many servers take an
address and no socket. So, for exactly the places of the grants, `socket.bind` puts the descriptor that was inherited
in the place of the library's own; each other place goes to the call that it stands for, and is refused there.

A process without egress can make no socket of the network either. There what `socket.socket()` gives is one end of a
pair, until it is bound: it knows its family and what a library may want to set on it before, and reaches nothing.
A library that binds by C (libzmq, libuv) does not pass here.

A datagram socket may answer from the number that it was given, and from no other. So that number stays open when a
library closes its socket, for the next one that binds; one socket at a time has it.

Libraries for multicast, such as zeroconf, bind one socket to all addresses, have it join the group on each interface,
and bind a further one to the address of each to send from there. Here the supervisor has joined, once for each entry.
So joining a granted group is answered as done; a socket that is bound to all addresses gets the first listener of the
group that is free, and makes way for one that is bound to the address of that interface, which reads as well as sends.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from tlsrt.config.listeners import Interface, ListenConfig, Listener

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_JOINING = {  # (level, option) -> bytes of the group at the beginning of the value
    **dict.fromkeys(
        ((socket.IPPROTO_IP, one) for one in (socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP)), 4
    ),
    **dict.fromkeys(
        ((socket.IPPROTO_IPV6, one) for one in (socket.IPV6_JOIN_GROUP, socket.IPV6_LEAVE_GROUP)), 16
    ),
}  # fmt: skip
_REACHING = ("connect", "connect_ex", "sendto")
_real: dict[str, Callable[..., Any]] = {
    name: getattr(socket.socket, name)
    for name in ("__init__", "bind", "setsockopt", "getsockopt", "_real_close", *_REACHING)
}


@dataclass(frozen=True, slots=True)
class Inherited:
    """A listener that a process was given, and its descriptor."""

    asked: ListenConfig
    descriptor: int
    interface: Interface | None = None  # of one with a group

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """Return the addresses of the interface on which it has joined a group."""
        return tuple(one.partition("/")[0] for one in self.interface.addresses) if self.interface is not None else ()


def _inode(descriptor: int) -> int:
    """Return what tells an open socket from others that had its number or will have it; -1 if none is open."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return -1


def inherited_by(
    listeners: Sequence[Listener], process: str, descriptors: Mapping[str, int],
    interfaces: Mapping[str, Interface] = MappingProxyType({}),
) -> list[Inherited]:  # fmt: skip
    """Return the listeners of the components of a process; those of their programs are bound by these. Pure."""
    mine = [one for one in listeners if one.process == process and not one.program and one.key in descriptors]
    return [Inherited(one.asked, descriptors[one.key], interfaces.get(one.key)) for one in mine]


class _Unbound(NamedTuple):
    """What stands for a socket until it is bound: the other end of its pair, and what tells its own from others."""

    other: socket.socket
    inode: int


class BoundListeners:
    """Stands in for the calls that make and bind sockets, as long as it is installed."""

    def __init__(self, listeners: Sequence[Inherited], *, makes_sockets: bool) -> None:
        self._listeners = listeners
        self._makes_sockets = makes_sockets
        self._unbound: dict[int, _Unbound] = {}  # by the number of the end that is given
        datagrams = [one.descriptor for one in listeners if one.asked.protocol == "udp"]
        self._granted = {number: _inode(number) for number in datagrams}
        groups = [one.asked.group for one in listeners if one.asked.group]
        self._groups = {ipaddress.ip_address(group).packed for group in groups}
        self._bound: dict[int, weakref.ref[socket.socket] | None] = {}  # granted: who has it for all addresses

    def install(self) -> None:
        """Take the place of what makes sockets; before libraries run."""
        if not self._listeners:
            return
        bound = self

        def bind(own: socket.socket, address: Any, /) -> None:
            bound.bind(own, address)

        def initialise(
            own: socket.socket, family: int = -1, type: int = -1, proto: int = -1, fileno: Any = None
        ) -> None:  # fmt: skip
            bound.initialise(own, family, type, proto, fileno)

        def close(own: socket.socket, /, *arguments: Any) -> None:
            bound.close(own, *arguments)

        stand_ins: dict[str, Callable[..., Any]] = {"bind": bind, "_real_close": close}
        if not self._makes_sockets or self._groups:
            setting, asking = self._setting(_real["setsockopt"]), self._asking(_real["getsockopt"])
            stand_ins |= {"setsockopt": setting, "getsockopt": asking}
        if not self._makes_sockets:
            stand_ins |= {"__init__": initialise}
            stand_ins |= {name: self._reaching(_real[name]) for name in _REACHING}
        for name, stand_in in stand_ins.items():
            setattr(socket.socket, name, stand_in)

    def remove(self) -> None:
        """Put back what was there."""
        for name, real in _real.items():
            if getattr(socket.socket, name) is not real:
                setattr(socket.socket, name, real)
        self._unbound.clear()

    def _setting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def stand_in(own: socket.socket, /, *arguments: Any) -> Any:
            length = _JOINING.get(arguments[:2], 0)
            if length and bytes(arguments[2][:length]) in self._groups:
                return None
            if own.fileno() not in self._unbound:
                return real(own, *arguments)
            if length:
                does = "put it under `needs: listen` of its component, with `group`"
                raise PermissionError(errno.EACCES, f"cannot join this group: {does}")
            return None

        return stand_in

    def _asking(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def stand_in(own: socket.socket, level: int, /, *arguments: Any) -> Any:
            if own.fileno() not in self._unbound or level not in (socket.IPPROTO_IP, socket.IPPROTO_IPV6):
                return real(own, level, *arguments)
            return bytes(arguments[1]) if len(arguments) > 1 else 0

        return stand_in

    def _reaching(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def stand_in(own: socket.socket, /, *arguments: Any) -> Any:
            if own.fileno() in self._unbound:  # so it is for reaching a host: it is refused, and told, as ever
                family, kind, protocol = own.family, own.type, own.proto
                self._drop(own)
                self._make(own, family, kind, protocol)
            return real(own, *arguments)

        return stand_in

    def _drop(self, own: socket.socket) -> bool:
        """Close what stands for a socket that was not bound; tell whether this was one."""
        unbound = self._unbound.pop(own.fileno(), None)
        if unbound is None:
            return False
        unbound.other.close()
        os.close(own.detach())
        return True

    def _make(self, own: socket.socket, family: int, kind: int, protocol: int, fileno: Any = None) -> None:
        """Make a socket as its class does; a number that stood for one that is gone now stands for itself."""
        _real["__init__"](own, family, kind, protocol, fileno)
        unbound = self._unbound.get(own.fileno())
        if unbound is not None and unbound.inode != _inode(own.fileno()):
            del self._unbound[own.fileno()]
            unbound.other.close()

    def close(self, own: socket.socket, *arguments: Any) -> None:
        """Close a socket as its class does, and what stands for it; the number of a granted one stays open."""
        number = own.fileno()
        if (unbound := self._unbound.pop(number, None)) is not None:
            unbound.other.close()
        if self._is_granted(number):
            own.detach()
            self._bound.pop(number, None)
        else:
            _real["_real_close"](own, *arguments)

    def _is_granted(self, number: int) -> bool:
        return number in self._granted and self._granted[number] == _inode(number)

    def initialise(self, own: socket.socket, family: int, kind: int, protocol: int, fileno: Any) -> None:
        """Make a socket as its class does, of the network by what can be bound later."""
        family = socket.AF_INET if family == -1 and fileno is None else family
        plain = socket.SOCK_STREAM if kind == -1 else kind & ~(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if fileno is not None or family not in _FAMILIES or plain not in _KINDS.values():
            self._make(own, family, kind, protocol, fileno)
            return
        self._stand_for(own, family, kind if kind != -1 else plain, protocol, plain)

    def _stand_for(self, own: socket.socket, family: int, kind: int, protocol: int, plain: int) -> None:
        """Make a socket of one end of a pair, which knows what it may become."""
        end, other = socket.socketpair(socket.AF_UNIX, plain)
        self._make(own, family, kind, max(protocol, 0), end.detach())
        self._unbound[own.fileno()] = _Unbound(other, _inode(own.fileno()))

    def bind(self, own: socket.socket, address: Any) -> None:
        """Bind as the method does. Raises OSError for a place that was not granted."""
        found = self._of(own, address)
        timeout, family, kind = own.gettimeout(), own.family, own.type
        number = found.descriptor if found is not None and kind == socket.SOCK_DGRAM else -1
        if number >= 0 and not self._is_free(number) and not self._makes_way(number, address):
            raise OSError(errno.EADDRINUSE, f"cannot bind {address!r}: another socket has it; close that first")
        was_none = self._drop(own)
        if found is None:
            if was_none:
                does = "put it under `needs: listen` of its component"
                raise PermissionError(errno.EACCES, f"cannot bind {address!r}: {does}")
            _real["bind"](own, address)
            return
        number = found.descriptor if kind == socket.SOCK_DGRAM else os.dup(found.descriptor)
        if not was_none:
            os.close(own.detach())
        self._make(own, family, kind, -1, number)  # the kernel says its protocol, which asyncio asks before TCP_NODELAY
        own.settimeout(timeout)
        if number in self._granted:
            self._bound[number] = weakref.ref(own) if _is_everywhere(address[0], family) else None

    def _makes_way(self, number: int, address: Any) -> bool:
        """Take a granted socket from one that is bound to all addresses, for one of a single address."""
        holder = self._bound.get(number)
        own = holder() if holder is not None else None
        if own is None or own.fileno() != number or _is_everywhere(address[0], own.family):
            return False
        timeout, family, kind = own.gettimeout(), own.family, own.type
        own.detach()
        self._bound.pop(number)
        self._stand_for(own, family, kind, 0, kind)
        own.settimeout(timeout)
        return True

    def _is_free(self, number: int) -> bool:
        return number not in self._bound and self._is_granted(number)

    def _of(self, own: socket.socket, address: Any) -> Inherited | None:
        if own.family not in _FAMILIES or not isinstance(address, tuple) or len(address) < 2:
            return None
        host, port = address[:2]
        found = [
            one
            for one in self._listeners
            if (_KINDS[one.asked.protocol], one.asked.port) == (own.type, port) and _is_at(host, own.family, one)
        ]
        free = (one for one in found if self._is_free(one.descriptor))
        return next(free, found[0] if found else None)


def _told(host: object, family: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return what a host in an address means; None for a name."""
    nowhere = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - it is compared
    try:
        return ipaddress.ip_address(str(host).partition("%")[0] or nowhere)
    except ValueError:
        if host != "localhost":
            return None
        return ipaddress.ip_address("::1" if family == socket.AF_INET6 else "127.0.0.1")


def _is_everywhere(host: object, family: int) -> bool:
    told = _told(host, family)
    return told is not None and told.is_unspecified


def _is_at(host: object, family: int, one: Inherited) -> bool:
    """Tell whether a host in an address means a listener: that of a group by all addresses, or by its interface's."""
    told, bound = _told(host, family), ipaddress.ip_address(one.asked.bound)
    if told is None or told.version != bound.version:
        return False
    return told == bound or (bool(one.asked.group) and (told.is_unspecified or str(told) in one.own_addresses))
