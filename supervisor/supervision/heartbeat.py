"""HeartbeatMonitor: which process hangs, judged from the rhythm of its beats. Pure: time comes in as an argument.

Phi accrual (Hayashibara et al., 2004): phi = -log10 of the probability that a beat comes later than now, if the
intervals are normally distributed with the mean and deviation of the last ones. The deviation has a floor, so that a
very regular process is not killed for a hiccup: with beats every 0.5 s phi 8 is reached 1.56 s after the last beat.
An irregular one (or one that is so on purpose) buys itself little time: mean and deviation have a ceiling, and silence
for 1.75 s is death whatever the rhythm was.

Four rules keep the monitor honest. A process that is still starting has a grace instead of a rhythm. Time during which
the monitor itself did not run is taken out of every account, for then it did not look. And an interval so long that
it should have been death (a stopped host) is no sample. And the time in which the kernel holds a process for its disk
is no silence, up to a minute in a row: that death would mend nothing, and the kernel would not even carry it out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

_STEP_S = 0.01


class Health(StrEnum):
    """What the monitor thinks of a process."""

    STARTING = "starting"
    GOOD = "good"
    SUSPECT = "suspect"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class HeartbeatStatus:
    """What status says about one process: what the monitor thinks, and its suspicion now."""

    health: Health
    phi: float
    age_s: float  # of its last beat


@dataclass(frozen=True, slots=True)
class HeartbeatPolicy:
    """The numbers of the detector; times in seconds."""

    interval_s: float = 0.5
    suspect: float = 5.0
    dead: float = 8.0
    minimum_deviation_s: float = 0.1
    maximum_deviation_s: float = 0.15
    silence_s: float = 1.75
    allowance_s: float = 0.5
    window: int = 100
    grace_s: float = 5.0
    excused_s: float = 1.0  # after so much silence it is asked whether the process waits for its disk ...
    disk_s: float = 60.0  # ... which excuses it for so long in a row
    round_s: float = 1 / 6  # how often `check` is called, where `expect` says nothing else
    round_late_s: float = 0.25  # a round later than this says nothing ...
    late_rounds: int = 3  # ... so often in a row


@dataclass(slots=True)
class _Rhythm:
    last: float
    settled: bool = False
    excused_s: float = 0.0  # of the present silence
    intervals: deque[float] = field(default_factory=deque[float])


def phi(elapsed_s: float, mean_s: float, deviation_s: float, allowance_s: float) -> float:
    """Return the suspicion after `elapsed_s` without a beat; infinite when the probability is below any float."""
    z = (elapsed_s - mean_s - allowance_s) / deviation_s
    later = 0.5 * math.erfc(z / math.sqrt(2))
    return 0.0 - math.log10(later) if later > 0 else math.inf  # from nothing: people do not read -0.0 as no suspicion


def soonest_s(policy: HeartbeatPolicy) -> float:
    """Return a silence, in s, up to which no process can be suspect or late, whatever its rhythm was."""
    silence = policy.allowance_s
    while phi(silence + _STEP_S, 0.0, policy.minimum_deviation_s, policy.allowance_s) < policy.suspect:
        silence += _STEP_S
    return min(silence, policy.excused_s, policy.silence_s)


class HeartbeatMonitor:
    """Watches any number of processes by name."""

    def __init__(
        self, policy: HeartbeatPolicy | None = None,
        on_suspect: Callable[[str, bool], None] = lambda name, is_late: None,
    ) -> None:  # fmt: skip
        self.policy = policy or HeartbeatPolicy()
        self._processes: dict[str, _Rhythm] = {}
        self._suspects: set[str] = set()
        self._on_suspect = on_suspect  # called at a round in which that changes
        self._soonest_s = soonest_s(self.policy)
        self._next_round_s = self.policy.round_s  # after the last one
        self._last_round: float | None = None
        self._late_rounds = 0  # in a row

    def watch(self, name: str, now: float) -> None:
        """Begin, or begin anew, with the grace of a start."""
        self._processes[name] = _Rhythm(now, intervals=deque(maxlen=self.policy.window))

    def settle(self, name: str, now: float) -> None:
        """The start is over: from now on the rhythm counts. A name that is not watched is fine: it ends meanwhile."""
        process = self._processes.get(name)
        if process is None:
            return
        process.settled = True
        process.last = now

    def forget(self, name: str) -> None:
        """Stop watching; a name that is not watched is fine."""
        self._processes.pop(name, None)

    def is_watched(self, name: str) -> bool:
        """Tell whether a name is watched."""
        return name in self._processes

    def beat(self, name: str, now: float) -> None:
        """Note a beat; one of a name that is not watched means nothing."""
        process = self._processes.get(name)
        if process is None:
            return
        interval = now - process.last
        is_sample = interval <= 2 * self.policy.interval_s + self.policy.allowance_s and not process.excused_s
        if process.settled and is_sample:
            process.intervals.append(interval)
        process.last = now
        process.excused_s = 0.0

    def late(self, now: float) -> list[str]:
        """Return who is silent for so long that it may wait for its disk."""
        return [name for name, one in self._processes.items() if now - one.last > self.policy.excused_s]

    def excuse(self, name: str, now: float) -> bool:
        """Take the time that a process waits for its disk out of its account; False if that is too long already.

        It waits now, and has waited since it was looked at last. What it waits altogether has an end, so that a
        process that is captured can be silent for `disk_s` and no longer.
        """
        process = self._processes[name]
        if process.excused_s >= self.policy.disk_s:
            return False
        more = now - process.last - self.policy.excused_s
        process.last += more
        process.excused_s += more
        return True

    def phi(self, name: str, now: float) -> float:
        """Return the suspicion against one process; 0 during its grace, infinite after it."""
        process = self._processes[name]
        elapsed = now - process.last
        if not process.settled:
            return math.inf if elapsed > self.policy.grace_s else 0.0
        if elapsed >= self.policy.silence_s:
            return math.inf
        mean, deviation = self._rhythm(process.intervals)
        return phi(elapsed, mean, deviation, self.policy.allowance_s)

    def silence(self, name: str, now: float) -> float:
        """Return for how many seconds one process was silent, less what the monitor itself missed."""
        return now - self._processes[name].last + self._processes[name].excused_s

    def excused(self, name: str) -> float:
        """Return for how many seconds of its present silence one process waited for its disk."""
        process = self._processes.get(name)
        return process.excused_s if process is not None else 0.0

    def health(self, name: str, now: float) -> Health:
        """Return what to think of one process now."""
        if self._processes[name].settled and now - self._processes[name].last <= self._soonest_s:
            return Health.GOOD  # whatever its rhythm: to work out phi for all costs at rest
        suspicion = self.phi(name, now)
        if suspicion >= self.policy.dead:
            return Health.DEAD
        if suspicion >= self.policy.suspect:
            return Health.SUSPECT
        return Health.GOOD if self._processes[name].settled else Health.STARTING

    def status(self, name: str, now: float) -> HeartbeatStatus | None:
        """Return what status says about a process; None for one that is not watched."""
        if name not in self._processes:
            return None
        return HeartbeatStatus(self.health(name, now), self.phi(name, now), self.silence(name, now))

    def quiet_until(self, now: float) -> float:
        """Return until when `check` would find what it has found now, if no process says anything: `now` or later."""
        if self._suspects:
            return now
        policy = self.policy
        spans = (one.last + (self._soonest_s if one.settled else policy.grace_s) for one in self._processes.values())
        return max(now, min(spans, default=math.inf))

    def expect(self, after_s: float) -> None:
        """Note that the next `check` is to come so long after the last one, in s."""
        self._next_round_s = after_s

    def check(self, now: float) -> list[str]:
        """Check all once: return the names that are dead.

        A late round, and the first one, forgives the time that it missed and returns none. On a machine that is always
        late they count all the same, by the time in which the monitor did run: else no death is found.
        """
        if self._last_round is None:  # unknown for how long the monitor has not run
            self._last_round = now
            for process in self._processes.values():
                process.last = now
            return []
        due = self._last_round + self._next_round_s
        self._last_round = now
        late = now - due
        if late > self.policy.round_late_s:
            for process in self._processes.values():
                process.last = min(now, process.last + late)
            self._late_rounds += 1
            if self._late_rounds <= self.policy.late_rounds:
                return []
        else:
            self._late_rounds = 0
        found = {name: self.health(name, now) for name in self._processes}
        self._tell_suspects(found)
        return [name for name, health in found.items() if health is Health.DEAD]

    def _tell_suspects(self, found: Mapping[str, Health]) -> None:
        self._suspects &= found.keys()
        for name, health in found.items():
            is_late = health in (Health.SUSPECT, Health.DEAD)
            if is_late != (name in self._suspects):
                (self._suspects.add if is_late else self._suspects.discard)(name)
                self._on_suspect(name, is_late)

    def _rhythm(self, intervals: deque[float]) -> tuple[float, float]:
        policy = self.policy
        if not intervals:
            return policy.interval_s, policy.minimum_deviation_s
        mean = math.fsum(intervals) / len(intervals)
        variance = math.fsum((interval - mean) ** 2 for interval in intervals) / len(intervals)
        deviation = min(max(math.sqrt(variance), policy.minimum_deviation_s), policy.maximum_deviation_s)
        return min(mean, 2 * policy.interval_s), deviation
