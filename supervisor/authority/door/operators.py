"""Operators at the door: which clients may lock or unlock the host, told to Primary.

It keeps some places for their connections, so that an unlock gets in however many others are there. That is all it
uses the list for: whether a client may, the authority alone decides.
"""

from __future__ import annotations

from typing import Final

from tlsrt.channels.clock import Moment
from tlsrt.supervisor.authority.clients.certificates import ClientCertificates
from tlsrt.supervisor.authority.model.client_registry import Registry
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import GATE
from tlsrt.supervisor.authority.model.ports import Service

MOST: Final = 512  # names, which fit in one message


class DoorOperators(Service):
    """What Primary was told last, and what is true now."""

    def __init__(self, context: AuthorityContext, certificates: ClientCertificates, registry: Registry) -> None:
        self._certificates = certificates
        self._registry = registry
        self._state = context.state
        self._loops = context.loops
        self._outgoing = context.outgoing
        self._told = (0, -1, -1)  # which Primary, and of which state of clients and revocations

    def tick(self, moment: Moment) -> None:
        """Tell a new Primary, and every one when clients have changed."""
        gate = self._loops[GATE]
        present = (gate.incarnation, self._registry.changes, self._state.revocation)
        if present == self._told or not gate.has_door or self._outgoing.is_blocked(GATE):
            return
        self._told = present
        names = (
            name for name in self._certificates.operators() if not self._state.is_revoked("subject", name.encode())
        )
        self._outgoing.send(GATE, "operators", sorted(names)[:MOST])
