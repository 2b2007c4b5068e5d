"""Listening sockets of a component, by the names that its `needs: listen` gave them."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tlsrt.config.listeners import Interface, Listener
from tlsrt.errors import MisuseError, Unavailable
from tlsrt.loops.component.method import nearest
from tlsrt.loops.component.surroundings import Surrounding


def listeners_of(
    address: str, listeners: Sequence[Listener], descriptors: Mapping[str, int], interfaces: Mapping[str, Interface]
) -> InheritedListeners:  # fmt: skip
    """Return those of one component, of what its process inherits by their keys. Pure."""
    mine = [one for one in listeners if one.address == address and one.is_inherited]
    joined = {one.asked.name: interfaces.get(one.key) for one in mine if one.asked.group}
    return InheritedListeners(address, {one.asked.name: descriptors[one.key] for one in mine}, joined)


class InheritedListeners:
    """The descriptors that one component inherits, as sockets once it asks for them."""

    def __init__(
        self, address: str, descriptors: Mapping[str, int],
        interfaces: Mapping[str, Interface | None] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Keep the descriptors by name; and the interfaces of those with a group, None for one that is not there."""
        self._address = address
        self._descriptors = descriptors
        self._interfaces = interfaces
        self._datagrams: dict[str, socket.socket] = {}

    def look_at(self, name: str) -> socket.socket:
        """Return a copy of a socket that a program has, to ask about it: whether it blocks is one flag for all copies.

        Raises MisuseError for a name that needs do not have.
        """
        return socket.socket(fileno=os.dup(self._descriptor(name)))

    def get(self, name: str) -> socket.socket:
        """Return a socket. Raises MisuseError for a name that needs do not have."""
        descriptor = self._descriptor(name)
        if name in self._datagrams:  # the number of its descriptor is what lets it answer, so there is no copy
            return self._datagrams[name]
        found = socket.socket(fileno=descriptor)
        found.setblocking(False)
        if found.type == socket.SOCK_DGRAM:
            self._datagrams[name] = found
            return found
        try:
            return found.dup()  # which may be closed, and asked for again
        finally:
            found.detach()

    def interface(self, name: str) -> Interface:
        """Return the interface of one with a group. Raises MisuseError, and Unavailable for one that is not there."""
        self._descriptor(name)
        if name not in self._interfaces:
            raise MisuseError(f"listener {name!r} of {self._address} has no `group`, and so no interface of its own")
        found = self._interfaces[name]
        if found is None:
            raise Unavailable(f"the interface of listener {name!r} was not there when this process started")
        return found

    def _descriptor(self, name: str) -> int:
        descriptor = self._descriptors.get(name)
        if descriptor is None:
            guess = nearest(name, list(self._descriptors))
            hint = f", did you mean {guess!r}?" if guess else f": put it under `needs: listen` of {self._address}"
            raise MisuseError(f"{self._address} has no listener {name!r}{hint}")
        return descriptor


class Listening:
    """The part of a component that has listening sockets."""

    _tlsrt_listeners: Surrounding[InheritedListeners] = Surrounding()

    def listener(self, name: str) -> socket.socket:
        """Return the socket of `needs: listen` with that name: bound, listening, not blocking.

        `await asyncio.start_server(self.serve, sock=self.listener("mqtt"))` takes its connections. It outlives the
        process, so what connects while the component is restarted waits. Raises MisuseError for another name.
        """
        return self._tlsrt_listeners.get(name)

    def listener_interface(self, name: str) -> Interface:
        """Return the network interface on which a listener with `group` has joined it: name, index and addresses.

        `self.listener_interface("mdns").addresses` are those that a service announces; as the process started with
        them. Raises MisuseError for a listener without a group, and Unavailable if the interface was not there.
        """
        return self._tlsrt_listeners.interface(name)
