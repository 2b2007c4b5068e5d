"""Watchdog: checks heartbeats, and attests that each sandbox is still what it was.

One timer for both, since every wake-up of a host that idles costs: three times in a round of 0.5 s, the time between
two beats. Each time the silence of all processes is checked. In the first of the three a dozen processes are attested,
one after the other while the code for it is in the caches; where there are more, the next dozen in the second, and more
than three dozen in equal parts. A turn with nothing to look at is left out if none can have been silent for too long by
then: at rest one wake-up a round is left. So each process is attested once in a round, 0.5 s after the last time, and
never just when it says something: that moment it could choose. A round begins when all processes wake up to beat: what
is left of one that began at another moment is done at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tlsrt.supervisor.process.children import Child, Children
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.process.limits import LimitMonitor
from tlsrt.supervisor.process.unkillable import KilledProcess, UnkillableProcesses
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.clock_steps import Clocks, ClockSteps, read_clocks
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.service_process import ServiceProcess

# All loops, the authority and services, with every heartbeat. A message or report waits behind BURST looks in a row,
# some 0.1 ms each, or behind a third of all.
ATTEST_ROUND_S = 0.5
TURNS = 3
BURST = 12


class Watchdog(Feature):
    """A timer; from the first word of a stop on it only looks who does not end."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, services: Sequence[ServiceProcess],
        features: Feature, boottime: Callable[[], float] | None = None, clocks: Callable[[], Clocks] = read_clocks,
    ) -> None:  # fmt: skip
        """`boottime` is the clock that beats go by, in s: CLOCK_BOOTTIME."""
        self._context = context
        self._event_loop = context.event_loop
        self._loops = loops
        self._authority = authority
        self._services = services  # helpers and resolver: each is there while it is needed
        self._features = features
        self._boottime = boottime or partial(time.clock_gettime, time.CLOCK_BOOTTIME)
        self._clocks = clocks
        self._clock_steps = ClockSteps()
        self._turns = 0  # of this round
        self._left: list[Callable[[], None]] = []  # looks of this round
        self._burst = BURST
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
            if self._clock_steps.look(self._clocks()):
                self._loops.ask_beats()  # timers of who rests may be due
            self._attest_some()
        self.stuck.look(self._killed(), self._event_loop.now)
        self._features.judged()
        self._call_next()

    def _call_next(self) -> None:
        """Come back at the next turn at which there can be anything to do, at the next round at the latest."""
        passed = self._boottime() % ATTEST_ROUND_S
        turn_s = ATTEST_ROUND_S / TURNS
        now, last_turn_s = self._event_loop.now, (TURNS - 1) * turn_s - passed
        is_free = passed < ATTEST_ROUND_S / 2 and not self._left and not self._loops.is_stopping
        if is_free and self._loops.monitor.quiet_until(now) > now + last_turn_s and not any(self._killed()):
            self._turns = 0
            self._loops.monitor.expect(ATTEST_ROUND_S - passed)
            self._event_loop.call_next(ATTEST_ROUND_S, self._turn)
        else:
            self._loops.monitor.expect(turn_s)
            self._event_loop.call_next(turn_s, self._turn)

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

    def _attest_some(self) -> None:
        """Attest those of this round whose turn it is; who comes meanwhile is looked at when it is sealed."""
        late: list[Callable[[], None]] = []
        if self._turns == 0 or self._boottime() % ATTEST_ROUND_S < ATTEST_ROUND_S / TURNS / 2:
            late, self._turns = self._left, 0
            self._left = [partial(self._attest_loop, loop) for loop in self._loops.all]
            self._left.append(self._attest_authority)
            self._left += [partial(self._attest_service, one) for one in self._services if one.child is not None]
            self._burst = max(BURST, math.ceil(len(self._left) / TURNS))
        self._turns = (self._turns + 1) % TURNS
        now, self._left = self._left[: self._burst], self._left[self._burst :]
        for look in (*late, *now):
            look()

    def _attest_loop(self, loop: Loop) -> None:
        if loop.is_trusted and self._loops.attest(loop) and loop.process.child is not None:
            self._look_at_limits(loop.name, self._loops.manager_of(loop), loop.process.child, loop.incarnation)
            self._loops.look_at_sleep(loop)

    def _attest_authority(self) -> None:
        if self._authority.is_attested and self._authority.attest() and self._authority.process.child is not None:
            self._look_at_limits(AUTHORITY, self._authority.managed_by, self._authority.process.child)

    def _attest_service(self, service: ServiceProcess) -> None:
        if service.is_attested and service.attest() and service.child is not None:
            self._look_at_limits(service.name, service.managed_by, service.child)
