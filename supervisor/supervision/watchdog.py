"""Watchdog: checks heartbeats, and attests that each sandbox is still what it was.

One timer for both, since every wake-up of a host that idles costs: three times in a round of 0.5 s, the time between
two beats. Each time the silence of all processes is checked and every third one is attested, so that with each of its
beats a process is also attested once, and never just when it says something: that moment it could choose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tlsrt.supervisor.process.children import Child, Children
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.process.limits import LimitMonitor
from tlsrt.supervisor.process.unkillable import KilledProcess, UnkillableProcesses
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.service_process import ServiceProcess

# All loops and the authority, with every heartbeat. A look takes 0.14 ms of CPU for one task and 0.25 for three, a few
# times that when caches are cold, so six of them at most 1 % of a core; no message or report waits behind all of them.
ATTEST_ROUND_S = 0.5
TURNS = 3


class Watchdog(Feature):
    """A timer; from the first word of a stop on it only looks who does not end."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, services: Sequence[ServiceProcess],
        features: Feature,
    ) -> None:  # fmt: skip
        self._context = context
        self._event_loop = context.event_loop
        self._loops = loops
        self._authority = authority
        self._services = services  # helpers and resolver: each is there while it is needed
        self._features = features
        self._next = 0
        self.stuck = UnkillableProcesses(self._say_stuck)
        self._limits = LimitMonitor(loops.violations.limit_reached)

    def begin(self) -> None:
        """Start it."""
        self._event_loop.call_next(ATTEST_ROUND_S / TURNS, self._turn)

    def epoch_begun(self) -> None:
        """Attest every loop for the new epoch."""
        for loop in self._loops.all:
            if loop.is_trusted and not self._loops.is_stopping and self._loops.attest(loop):
                self._loops.announce(loop)

    def _turn(self) -> None:
        if not self._loops.is_stopping:
            self._judge()
            for _ in range(math.ceil(self._count() / TURNS)):
                self._attest_next()
        self.stuck.look(self._killed(), self._event_loop.now)
        self._features.judged()
        self._event_loop.call_next(ATTEST_ROUND_S / TURNS, self._turn)

    def _killed(self) -> Iterator[KilledProcess]:
        for loop in self._loops.all:
            if loop.process.is_killed and loop.process.child is not None:
                yield KilledProcess(loop.name, loop.process.child)
        if self._authority.is_killed and self._authority.process.child is not None:
            yield KilledProcess(AUTHORITY, self._authority.process.child)
        for service in self._services:
            if service.is_killed and service.child is not None:
                yield KilledProcess(service.name, service.child)

    def _say_stuck(self, name: str, where: str) -> None:
        what = "the end waits for it" if self._loops.is_stopping else "it is started again when it has ended"
        sentence = f"killed, but it waits in the kernel ({where}), where no signal reaches it; {what}"
        self._context.console.bad(name, "stuck", sentence)
        self._context.events.emit("stuck", name, sentence)

    def _judge(self) -> None:
        monitor, now = self._loops.monitor, self._event_loop.now
        held = self._excuse_disks(now)
        for name in monitor.check(now):
            reason = f"heartbeat: no beat for {monitor.silence(name, now):.2f} s"
            if excused := monitor.excused(name):
                reason = f"{reason}, of which it waited {excused:.2f} s for its disk"
            cause = Cause.DISK if name in held else Cause.HEARTBEAT  # one that waited and hangs now counts as hung
            if name == AUTHORITY:
                self._authority.kill(reason, cause)
            else:
                self._loops.hung(self._loops.by_name(name), reason, cause)

    def _excuse_disks(self, now: float) -> set[str]:
        """Take the silence of those that the kernel holds for their disk out of their accounts; return their names."""
        monitor, children = self._loops.monitor, self._context.current.children
        held: set[str] = set()
        for name in monitor.late(now):
            process = (self._authority if name == AUTHORITY else self._loops.by_name(name)).process
            where = children.disk_wait(name, process.child.host_pid) if process.child is not None else ""
            if not where:
                continue
            held.add(name)
            if monitor.excuse(name, now):
                self._loops.disk_waits.seen(name, monitor.excused(name), where)
        self._loops.disk_waits.look()
        return held

    def _look_at_limits(self, name: str, children: Children, child: Child, incarnation: int = 0) -> None:
        usage = children.limit_usage(name, child.host_pid)
        self._limits.look(name, incarnation or child.pid, usage, self._event_loop.now)

    def _count(self) -> int:
        """Return how many processes there are to look at: the loops, the authority, and services that are there."""
        return len(self._loops.all) + 1 + len(self._present)

    @property
    def _present(self) -> list[ServiceProcess]:
        return [service for service in self._services if service.child is not None]

    def _attest_next(self) -> None:
        loops = self._loops.all
        self._next %= self._count()  # a reload may have removed some
        if self._next == len(loops):
            if self._authority.is_attested and self._authority.attest() and self._authority.process.child is not None:
                self._look_at_limits(AUTHORITY, self._authority.managed_by, self._authority.process.child)
        elif self._next > len(loops):
            service = self._present[self._next - len(loops) - 1]
            if service.is_attested and service.attest() and service.child is not None:
                self._look_at_limits(service.name, service.managed_by, service.child)
        elif (loop := loops[self._next]).is_trusted and self._loops.attest(loop) and loop.process.child is not None:
            self._look_at_limits(loop.name, self._loops.manager_of(loop), loop.process.child, loop.incarnation)
        self._next = (self._next + 1) % self._count()
