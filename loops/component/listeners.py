"""Listening sockets of a component, by the names that its `needs: listen` gave them."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from tlsrt.errors import MisuseError
from tlsrt.loops.component.method import nearest


class InheritedListeners:
    """The descriptors that one component inherits, as sockets once it asks for them."""

    def __init__(self, address: str, descriptors: Mapping[str, int]) -> None:
        self._address = address
        self._descriptors = descriptors
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

    def _descriptor(self, name: str) -> int:
        descriptor = self._descriptors.get(name)
        if descriptor is None:
            guess = nearest(name, list(self._descriptors))
            hint = f", did you mean {guess!r}?" if guess else f": put it under `needs: listen` of {self._address}"
            raise MisuseError(f"{self._address} has no listener {name!r}{hint}")
        return descriptor
