"""The listening sockets that outlive every Primary: one per loop, and the TLS door.

They belong to the supervisor; each new Primary gets duplicates by fork, so its death refuses no connection.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tlsrt.config.deception import EndpointConfig
from tlsrt.config.door import DoorConfig
from tlsrt.config.listeners import ListenConfig, Listener, stays_on_link
from tlsrt.config.schema import Config
from tlsrt.config.supervision import PRIMARY
from tlsrt.errors import ConfigError
from tlsrt.sandbox.seccomp.reply_filter import AnsweringGroup, made_in
from tlsrt.supervisor.process.unix_path import bind_unix

SOCKET_NAME = "primary.sock"  # of each channel, in its folder
CHANNEL_BACKLOG = 64  # one loop connects, again and again while Primary is down
DOOR_BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn, listen(2)
DOOR = "door"
DECOY = "decoy"
COMPONENT_BACKLOG = 128
DECOY_BACKLOG = 16
_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29
_MOST_HOPS = 255
DECOY_BUFFER = 4096  # bytes that the kernel keeps of what a peer sends there; it doubles them, socket(7)


def channel_listeners(config: Config, uid: Callable[[str], int]) -> dict[str, int]:
    """Return loop name -> listening descriptor, for every loop but Primary. Raises ConfigError."""
    names = (loop.name for loop in config.loops if loop.name != PRIMARY)
    return {name: channel_listener(config, name, uid(name)) for name in names}


def channel_listener(config: Config, name: str, uid: int) -> int:
    """Return the listening descriptor of one process's channel. Raises ConfigError."""
    folder = config.run_dir / "channel" / name
    try:
        return bind_unix(folder, SOCKET_NAME, backlog=CHANNEL_BACKLOG, uid=uid).detach()
    except OSError as error:
        raise ConfigError(f"cannot listen in {folder}: {error.strerror}") from None


def door_listener(door: DoorConfig) -> int:
    """Return the listening descriptor of the TLS door. Raises ConfigError with the sentence for the operator."""
    return _tcp_listener(door.host, door.port, DOOR, DOOR_BACKLOG)


def decoy_listener(endpoint: EndpointConfig) -> int:
    """Return the listening descriptor of the decoy endpoint, with small buffers. Raises ConfigError."""
    return _tcp_listener(endpoint.host, endpoint.port, "deception.endpoint", DECOY_BACKLOG, DECOY_BUFFER)


def shrink_buffers(descriptor: int) -> None:
    """Give a listening socket the decoy's small buffers; those that it accepts inherit them."""
    with socket.socket(fileno=os.dup(descriptor)) as one:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            one.setsockopt(socket.SOL_SOCKET, option, DECOY_BUFFER)


def try_tcp(host: str, port: int, name: str) -> None:
    """Bind a port for a moment, without listening there. Raises ConfigError if a program listens there already."""
    _bound_tcp(host, port, name).close()


def component_listener(
    listener: Listener, answering: Callable[[], AnsweringGroup], *, is_beside: bool = False
) -> int:  # fmt: skip
    """Return the descriptor of a component's listening socket. Raises ConfigError with its place in the file.

    `answering` returns the control group of those that send answers only, or raises OSError. `is_beside` is for one
    that takes the place of a socket that is bound there still, with SO_REUSEADDR.
    """
    asked = listener.asked
    name = f"{listener.address} ({asked.name})"
    try:
        if asked.protocol == "tcp":
            return _tcp_listener(asked.host, asked.port, name, COMPONENT_BACKLOG)
        make = partial(_bound_datagrams, asked, is_beside=is_beside)
        return _said(
            asked, name, partial(_held, asked, name, listener.program, answering, make) if asked.replies else make
        )
    except ConfigError as error:
        raise ConfigError([f"{asked.where}: {sentence}" for sentence in error.problems]) from None


def _held(
    asked: ListenConfig, name: str, program: str, answering: Callable[[], AnsweringGroup], make: Callable[[], int]
) -> int:  # fmt: skip
    """Return a socket that the kernel holds to replies. Raises OSError and ConfigError."""
    index = _interface(asked.interface)
    try:
        group = answering()
        if asked.group:
            group.let_send_to(asked.group, asked.port, index)
    except OSError as error:
        raise ConfigError(
            f"{name} cannot be held to `replies` on this host: {error.strerror}; "
            + ("remove `replies`" if program else "write `answers`, if it may send to any host")
        ) from None
    return made_in(group.folder, make)


def _said(asked: ListenConfig, name: str, make: Callable[[], int]) -> int:
    try:
        return make()
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise ConfigError(f"{name}: this host has no interface to join {asked.place} on") from None
        raise ConfigError(_sentence(asked.place.removesuffix("/udp"), name, error)) from None


def _bound_datagrams(asked: ListenConfig, *, is_beside: bool) -> int:
    """Return a datagram socket that is bound, and in its group. Raises OSError."""
    is_six = ":" in asked.bound
    family = socket.AF_INET6 if is_six else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        if is_six:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if is_beside:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        index = _interface(asked.interface)
        if asked.group:
            _join(made, asked.group, index)
        made.bind((asked.bound, asked.port, 0, index) if is_six else (asked.bound, asked.port))
        if not asked.group:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # no other program may be bound beside it
        return made.detach()


def _interface(name: str) -> int:
    try:
        return socket.if_nametoindex(name) if name else 0
    except OSError:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None


def _join(made: socket.socket, group: str, index: int) -> None:
    """Join a multicast group on an interface, hear it there alone, and send to it from there: ip(7), ipv6(7).

    Without *_MULTICAST_ALL a socket hears a group wherever any program of the host has joined it. IPv6 looks at the
    group alone even then, whatever the interface: so the socket is bound to its interface, too. IPv4 is bound for what
    it sends. What is sent to a group of one link, or from there, has a time to live of 255, as mDNS wants it: no router
    passes it on, and who receives it knows that it comes from this link.
    """
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # others of this host hear the group as well
    if index:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, socket.if_indextoname(index).encode())
    if made.family is socket.AF_INET6:
        member = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        for option in (socket.IPV6_MULTICAST_HOPS, socket.IPV6_UNICAST_HOPS) if stays_on_link(group) else ():
            made.setsockopt(socket.IPPROTO_IPV6, option, _MOST_HOPS)
        return
    member = socket.inet_aton(group) + bytes(4) + struct.pack("@i", index)  # struct ip_mreqn
    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + struct.pack("@i", index))
    made.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    for option in (socket.IP_MULTICAST_TTL, socket.IP_TTL) if stays_on_link(group) else ():
        made.setsockopt(socket.IPPROTO_IP, option, _MOST_HOPS)


def _tcp_listener(host: str, port: int, name: str, backlog: int, buffer: int = 0) -> int:
    listener = _bound_tcp(host, port, name, buffer)
    try:
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise ConfigError(_sentence(_shown(host, port), name, error)) from None
    return listener.detach()


def _bound_tcp(host: str, port: int, name: str, buffer: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)  # a name would ask a resolver, which leaves threads and sockets behind
    except OSError:
        raise ConfigError(f"{name}.host is {host!r}, which is not an IP address") from None
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF) if buffer else ():
            listener.setsockopt(socket.SOL_SOCKET, option, buffer)  # those that it accepts inherit them
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(_sentence(_shown(host, port), name, error)) from None
    return listener


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _sentence(place: str, name: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program already listens on {place}: stop it, or choose another {name}.port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host has no address for {place}: choose another {name}.host"
    if error.errno == errno.EACCES:
        return f"listening on {place} is not permitted: choose a {name}.port above 1023, or start as root"
    return f"cannot listen on {place}: {error.strerror}"


def remove_sockets(config: Config) -> None:
    """Remove the names of the channel sockets at the end of a life."""
    for loop in config.loops:
        if loop.name != PRIMARY:
            remove_socket(config, loop.name)


def remove_socket(config: Config, name: str) -> None:
    """Remove the name of one process's channel socket."""
    with suppress(OSError):
        os.unlink(config.run_dir / "channel" / name / SOCKET_NAME)
