"""Listening sockets of components: made and bound here, inherited by each new process of theirs.

The supervisor keeps each, so no connection is refused while a process is restarted: it waits in the backlog. What a
captured process does to a socket that it shares ends with the process: a TCP socket that listens gets its options back
(connections that wait in it already keep theirs), one that was made to end is made anew at the same place, and so is
each UDP socket, as shutdown(2) of one cannot be undone; datagrams that waited in it are lost.

A descriptor keeps its number whatever happens to the socket, so a reload that is under way means the same one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from tlsrt.config.listeners import Listener
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.sandbox.seccomp.reply_filter import AnsweringGroup
from tlsrt.supervisor.process.listeners import component_listener

_IP_RECVERR, _IPV6_RECVERR = 11, 25
# What a process may set of a socket that it inherits, by the profiles `base`, `listen` and `internet`.
_OPTIONS = (
    *((socket.SOL_SOCKET, option) for option in (socket.SO_REUSEADDR, socket.SO_KEEPALIVE, socket.SO_RCVTIMEO)),
    *(
        (socket.IPPROTO_TCP, option)
        for option in (
            socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT,
        )
    ),
    (socket.IPPROTO_IP, _IP_RECVERR),
    (socket.IPPROTO_IPV6, _IPV6_RECVERR),
)  # fmt: skip
_LONGEST_OPTION = 16  # struct timeval


class ComponentListeners:
    """The sockets in force, and those that a reload has prepared."""

    def __init__(self, config: Config, answering: Callable[[], AnsweringGroup] | None = None) -> None:
        """Make all of a configuration. Raises ConfigError, and leaves nothing open then.

        `answering` returns the control group of sockets that send answers only, or raises OSError.
        """
        self._answering = answering or _no_group
        self._held: dict[Listener, int] = {}
        self._prepared: dict[Listener, int] | None = None
        self.prepare(config)
        self.take()

    @property
    def all(self) -> tuple[Listener, ...]:
        """Return those in force."""
        return tuple(self._held)

    def prepare(self, config: Config) -> None:
        """Make what a changed configuration has anew. Raises ConfigError, and nothing has changed then."""
        self.cancel()
        held = {_place(one): descriptor for one, descriptor in self._held.items()}
        prepared: dict[Listener, int] = {}
        self._prepared = prepared
        try:
            for one in config.listeners:
                known = held.get(_place(one))
                prepared[one] = component_listener(one, self._answering) if known is None else known
        except BaseException:
            self.cancel()
            raise

    def take(self) -> tuple[list[Listener], list[Listener]]:
        """Put in force what was prepared; return what has come and what has gone."""
        if self._prepared is None:
            return [], []
        before, self._held, self._prepared = self._held, self._prepared, None
        kept = set(self._held.values())
        for descriptor in before.values():
            if descriptor not in kept:
                os.close(descriptor)
        come = [one for one in self._held if one not in before]
        return come, [one for one in before if one not in self._held]

    def cancel(self) -> None:
        """Let go of what was prepared."""
        kept = set(self._held.values())
        for descriptor in (self._prepared or {}).values():
            if descriptor not in kept:
                os.close(descriptor)
        self._prepared = None

    def of(self, process: str, say: Callable[[str], None]) -> Mapping[str, int]:
        """Return key -> descriptor for a process that is to be forked, as the process before may not have left it.

        Raises nothing. `say` gets a sentence about each that cannot be had again: the process gets a descriptor that
        is no socket then, and its component meets that as it uses it.
        """
        mine = {one: number for one, number in self._held.items() if one.process == process and one.is_inherited}
        return {one.key: number for one, number in self._renewed(mine, say).items()}

    def of_program(self, address: str, program: str, say: Callable[[str], None]) -> Mapping[Listener, int]:
        """Return the descriptors for a program that is to be forked, in the same way."""
        mine = {one: number for one, number in self._held.items() if (one.address, one.program) == (address, program)}
        return self._renewed(mine, say)

    def _renewed(self, mine: Mapping[Listener, int], say: Callable[[str], None]) -> Mapping[Listener, int]:
        for one, descriptor in mine.items():
            if not _still_listens(one, descriptor):
                _listen_again(one, descriptor, self._answering, say)
        return mine


def _place(one: Listener) -> str:
    return one.asked.place


def _still_listens(one: Listener, descriptor: int) -> bool:
    """Tell whether a TCP socket listens as it was made, after its options were set back."""
    if one.asked.protocol == "udp":
        return False
    with suppress(OSError), _duplicate(descriptor) as held:
        return bool(held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) and _is_plain(held)
    return False


def _duplicate(descriptor: int) -> socket.socket:
    duplicate = os.dup(descriptor)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:  # no socket
        os.close(duplicate)
        raise


def _is_plain(held: socket.socket) -> bool:
    """Set options and flags to those of a new socket; tell whether they are. Raises OSError."""
    fcntl.fcntl(held, fcntl.F_SETFL, os.O_NONBLOCK)
    is_plain = True
    with socket.socket(held.family, socket.SOCK_STREAM) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for level, option in _OPTIONS:
            try:
                value = plain.getsockopt(level, option, _LONGEST_OPTION)
            except OSError:  # not of this family
                continue
            if held.getsockopt(level, option, _LONGEST_OPTION) != value:
                held.setsockopt(level, option, value)
                is_plain &= held.getsockopt(level, option, _LONGEST_OPTION) == value
    return is_plain


def _no_group() -> AnsweringGroup:
    raise OSError(errno.ENOTSUP, "there are no control groups")


def _listen_again(
    one: Listener, descriptor: int, answering: Callable[[], AnsweringGroup], say: Callable[[str], None]
) -> None:  # fmt: skip
    """Put a new socket under the number; the port is at no time free.

    It could not be freed: a child that was forked a moment ago has a copy of the old socket until it closes what is not
    its own. So the new one is bound beside the old one, which has to allow it.
    """
    try:
        made = _made(one, descriptor, answering, say)
        try:
            os.dup2(made, descriptor, inheritable=False)
        finally:
            os.close(made)
    except OSError as error:
        say(f"does not listen on {one.sentence}: {error}")


def _made(
    one: Listener, descriptor: int, answering: Callable[[], AnsweringGroup], say: Callable[[str], None]
) -> int:  # fmt: skip
    """Return a new socket, or what is none. Raises OSError."""
    try:
        return component_listener(one, answering, is_beside=_made_way(descriptor))
    except (OSError, ConfigError) as error:
        say(f"does not listen on {one.sentence}: {error}")
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _made_way(descriptor: int) -> bool:
    """Let another socket be bound where this one is; tell whether one is there."""
    try:
        with _duplicate(descriptor) as old:
            old.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if old.type == socket.SOCK_STREAM:
                with suppress(OSError):  # it does not listen
                    old.shutdown(socket.SHUT_RDWR)
            return True
    except OSError:  # no socket: it could not be had the last time
        return False
