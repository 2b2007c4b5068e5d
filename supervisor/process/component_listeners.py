"""Listening sockets of components: made and bound here, inherited by each new process of theirs.

The supervisor keeps each, so no connection is refused while a process is restarted: it waits in the backlog. What a
captured process does to a socket that it shares (shutdown(2), connect(2) to nowhere) ends with the process, as its
next one gets the socket as it was, or another one at the same place.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from tlsrt.config.listeners import Listener
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.sandbox.syscalls import connect
from tlsrt.supervisor.process.listeners import component_listener

_UNSPECIFIED = bytes(16)  # struct sockaddr of AF_UNSPEC: connect(2) with it ends an association


class ComponentListeners:
    """The sockets in force, and those that a reload has prepared."""

    def __init__(self, config: Config) -> None:
        """Make all of a configuration. Raises ConfigError, and leaves nothing open then."""
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
                prepared[one] = component_listener(one) if known is None else known
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

    def of(self, process: str) -> Mapping[str, int]:
        """Return key -> descriptor for a process that is to be forked, as the process before may not have left it.

        A socket that cannot be had again stays as it is; the component meets that as it uses it.
        """
        found: dict[str, int] = {}
        for one, descriptor in list(self._held.items()):
            if one.process == process:
                found[one.key] = self._held[one] = _renewed(one, descriptor)
        return found


def _place(one: Listener) -> str:
    return one.asked.place


def _renewed(one: Listener, descriptor: int) -> int:
    """Return a descriptor that listens: this one, or another one in its place if it was made to end."""
    with socket.socket(fileno=os.dup(descriptor)) as held:
        with suppress(OSError):
            held.setblocking(False)
            if one.asked.protocol == "udp":
                connect(held.fileno(), _UNSPECIFIED)
        if one.asked.protocol == "udp" or held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return descriptor
    os.close(descriptor)
    with suppress(ConfigError):
        return component_listener(one)
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
