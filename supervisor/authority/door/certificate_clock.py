"""Certificate clock: tells, while the host runs, that the door's certificate ends, has ended or has not begun. Pure."""

from __future__ import annotations

from tlsrt.channels.clock import Moment
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.model.ports import Outgoing, Service

LOOK_MS = 60_000  # wall time decides, and it may be set


class CertificateClock(Service):
    """Looks once a minute, and tells the supervisor what has changed."""

    def __init__(self, door: DoorChange, outgoing: Outgoing) -> None:
        self._door = door
        self._outgoing = outgoing
        self._told: tuple[list[str], int] = ([], 0)
        self._next = 0

    def next_due(self) -> int:
        return self._next

    def tick(self, moment: Moment) -> None:
        if moment.now < self._next:
            return
        self._next = moment.now + LOOK_MS
        now = self._door.files.warnings(moment.wall), int(self._door.files.ends.timestamp())
        if now != self._told:
            self._told = now
            self._outgoing.tell("certificate_time", *now)
