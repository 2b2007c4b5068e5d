"""What the supervisor does again and again: judge heartbeats, and look whether a sandbox is still what it was.

One timer for both, since every wake-up of a host that idles costs: three times in a round of 0.5 s, the time between
two beats. Each time the silence of everybody is judged and every third process is looked at, so that with each of its
beats a process is also attested once, and never just when it says something: that moment it could choose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tlsrt.supervisor.process.children import Child, Common
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.process.limits import LimitMonitor
from tlsrt.supervisor.process.unkillable import KilledProcess, UnkillableProcesses
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.loops import Loops

# All loops and the authority, with every heartbeat. A look takes 0.14 ms of CPU for one task and 0.25 for three, a few
# times that when caches are cold, so six of them at most 1 % of a core; no message or report waits behind all of them.
ATTEST_ROUND_S = 0.5
TURNS = 3


class Watchdog:
    """A timer; from the first word of a stop on it only looks who does not end."""

    def __init__(self, common: Common, fleet: Loops, office: AuthorityProcess) -> None:
        self._common = common
        self._reactor = common.reactor
        self._fleet = fleet
        self._office = office
        self._next = 0
        self.stuck = UnkillableProcesses(self._say_stuck)
        self._limits = LimitMonitor(fleet.violations.limit_reached)
        self._looks = math.ceil((len(fleet.members) + 1) / TURNS)

    def begin(self) -> None:
        """Start it."""
        self._reactor.call_next(ATTEST_ROUND_S / TURNS, self._turn)

    def attest_all(self) -> None:
        """Look at every loop, for an epoch that the authority prepares."""
        for member in self._fleet.members:
            if member.is_trusted and not self._fleet.stopping and self._fleet.attest(member):
                self._fleet.announce(member)

    def _turn(self) -> None:
        if not self._fleet.stopping:
            self._judge()
            for _ in range(self._looks):
                self._attest_next()
        self.stuck.look(self._condemned(), self._reactor.now)
        self._reactor.call_next(ATTEST_ROUND_S / TURNS, self._turn)

    def _condemned(self) -> Iterator[KilledProcess]:
        for member in self._fleet.members:
            if member.is_killed and member.child is not None:
                yield KilledProcess(member.name, member.child)
        if self._office.is_condemned and self._office.child is not None:
            yield KilledProcess(AUTHORITY, self._office.child)

    def _say_stuck(self, name: str, where: str) -> None:
        what = "the end waits for it" if self._fleet.stopping else "it is started again when it is gone"
        sentence = f"killed, but it waits in the kernel ({where}), where no signal reaches it; {what}"
        self._common.console.bad(name, "stuck", sentence)
        self._common.events.emit("stuck", name, sentence)

    def _judge(self) -> None:
        monitor, now = self._fleet.monitor, self._reactor.now
        for name in monitor.judge(now):
            reason = f"heartbeat: no beat for {monitor.silence(name, now):.2f} s"
            if name == AUTHORITY:
                self._office.condemn(reason, Cause.HEARTBEAT)
            else:
                self._fleet.hung(self._fleet.member(name), reason)

    def _look_at_limits(self, name: str, child: Child, incarnation: int = 0) -> None:
        pressure = self._common.parts.pressure(name, child.host_pid)
        self._limits.look(name, incarnation or child.pid, pressure, self._reactor.now)

    def _attest_next(self) -> None:
        members = self._fleet.members
        if self._next == len(members):
            if self._office.is_attested and self._office.attest() and self._office.child is not None:
                self._look_at_limits(AUTHORITY, self._office.child)
        elif (member := members[self._next]).is_trusted and self._fleet.attest(member) and member.child is not None:
            self._look_at_limits(member.name, member.child, member.incarnation)
        self._next = (self._next + 1) % (len(members) + 1)
