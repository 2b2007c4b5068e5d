"""What the supervisor does again and again: judge heartbeats, and look whether a sandbox is still what it was."""

from __future__ import annotations

from tlsrt.supervisor.causes import Cause
from tlsrt.supervisor.fleet import Fleet
from tlsrt.supervisor.lifecycle import Event
from tlsrt.supervisor.office import NAME as AUTHORITY
from tlsrt.supervisor.office import Office
from tlsrt.supervisor.parts import Common

# All loops and the authority, with every heartbeat. A look takes about 0.8 ms, so six of them 1 % of a core: they are
# spread over the round, and no message or report waits behind a burst of them.
ATTEST_ROUND_S = 0.5


class Rounds:
    """Two timers that end with the first word of a stop."""

    def __init__(self, common: Common, fleet: Fleet, office: Office) -> None:
        self._reactor = common.reactor
        self._fleet = fleet
        self._office = office
        self._turn = 0
        self._every_s = ATTEST_ROUND_S / (len(fleet.members) + 1)

    def begin(self) -> None:
        """Start both."""
        self._reactor.call_later(self._fleet.monitor.policy.round_s, self._judge)
        self._reactor.call_later(self._every_s, self._attest_next)

    def attest_all(self) -> None:
        """Look at every loop, for an epoch that the authority prepares."""
        for member in self._fleet.members:
            if member.is_trusted and not self._fleet.stopping and self._fleet.attest(member):
                self._fleet.announce(member)

    def _judge(self) -> None:
        if self._fleet.stopping:
            return
        monitor = self._fleet.monitor
        for name in monitor.judge(self._reactor.now):
            if name == AUTHORITY:
                self._office.condemn("heartbeat", Cause.HEARTBEAT)
            else:
                self._fleet.condemn(self._fleet.member(name), Event.HUNG, "heartbeat")
        self._reactor.call_later(monitor.policy.round_s, self._judge)

    def _attest_next(self) -> None:
        if self._fleet.stopping:
            return
        members = self._fleet.members
        if self._turn == len(members):
            if self._office.is_attested:
                self._office.attest()
        elif members[self._turn].is_trusted:
            self._fleet.attest(members[self._turn])
        self._turn = (self._turn + 1) % (len(members) + 1)
        self._reactor.call_later(self._every_s, self._attest_next)
