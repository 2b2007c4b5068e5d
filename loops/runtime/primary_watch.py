"""The watch over Primary: which incarnation is up, and whether frames can go to it."""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.session.verifier import Verifier
from tlsrt.loops.runtime.component_host import ComponentHost
from tlsrt.loops.runtime.role import LoopRole


class PrimaryWatch:
    """Has the channel of a role up when Primary is, and its components hold proof keys for exactly its incarnation."""

    def __init__(self, hosts: Mapping[str, ComponentHost], verifier: Verifier, role: LoopRole) -> None:
        self._hosts = hosts
        self._verifier = verifier
        self._role = role
        self._incarnation = 0
        self._is_up = False
        role.set_up(False)

    def note(self, incarnation: int) -> None:
        """Take note which incarnation of Primary is up; 0: none."""
        self._incarnation = incarnation
        self.look()

    def look(self) -> None:
        """Look again, after keys have come or gone."""
        is_up = bool(self._incarnation) and all(
            host.endpoint.gate == self._incarnation for host in self._hosts.values() if self._has_session(host)
        )
        if is_up != self._is_up:
            self._is_up = is_up
            self._role.set_up(is_up)

    def _has_session(self, host: ComponentHost) -> bool:
        """Whether a component may take part: one that is revoked gets no keys, and holds up no other."""
        endpoint = host.endpoint
        return bool(endpoint.session) and not self._verifier.revoked.has(endpoint.session, b"", endpoint.subject)
