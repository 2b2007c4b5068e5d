"""Restart policy: strategies of groups, dependencies, limits. Pure: states and time in, steps out.

It is told of every unexpected death, and keeps two things: *rounds*, loops that are down or have to end and
will start again together, and *failures*, loops that stay down. All else follows from what the loops are now: `steps`
compares that with what should be, and is asked again after every change. So nothing is lost when two things happen at
once, and whatever was decided can be said again.

    dies        -> a round: it, and by its group's strategy those after it or all others
    dies again  -> the same round grows, and its delay with it
    too often   -> a failure of the whole group, and `degraded` or `exit`
    stopped     -> a failure that the operator has asked for: it alone, until it is started, and no death changes that
    permanently -> a failure at once, of it and those that its group's strategy restarts with it

In a round the living end first, the last one of the start order first, one after another; then, and not before the
delay is over, all start in order. A loop that depends on a failure ends too, and waits; it comes back when what it
depends on is active. A loop whose dependency is merely being restarted lives on: its calls wait, or fail as they say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tlsrt.channels.control.life import LoopState
from tlsrt.config.processes import is_part, loop_of
from tlsrt.config.supervision import (
    Escalation,
    GroupConfig,
    Strategy,
    SupervisionConfig,
    dependents_of,
    edges_of,
    part_edges,
    start_order,
)
from tlsrt.supervisor.supervision.backoff import RestartBackoff, RestartIntensity
from tlsrt.supervisor.supervision.states import LIVING

STOPPED = "stopped by the operator"


class Do(StrEnum):
    """What is to be done with one loop."""

    END = "end"  # drain it, and let it end
    HOLD = "hold"  # it is down, and will be started again
    START = "start"  # fork it
    WAIT = "wait"  # it is down, until what it depends on is active
    FAIL = "fail"  # it stays down


class Why(StrEnum):
    """What a loop has to end for."""

    GROUP = "group"  # another loop of its group has died, or the group has been given up
    DEPENDENCY = "dependency"  # a loop that it depends on has been given up
    ASKED = "asked"  # the operator
    LOCK = "lock"  # Primary serves a locked host, or one that is not locked any more
    STOPPED = "stopped"  # the operator, until the operator starts it


class RestartStep(NamedTuple):
    """One thing to be done, and for whose sake."""

    do: Do
    loop: str
    why: Why = Why.GROUP
    of: str = ""  # the loop that it is done for


class LoopSnapshot(NamedTuple):
    """One loop now; one that is leaving has been asked to end."""

    state: LoopState
    is_ending: bool = False
    was_born: bool = True  # before that, only the start of the host starts it

    @property
    def is_living(self) -> bool:
        return self.state in LIVING


@dataclass(slots=True)
class Round:
    """Loops that start again together, not before a moment; `leader` is the one that it is about."""

    leader: str
    loops: frozenset[str]
    not_before: float
    why: Why = Why.GROUP


@dataclass(slots=True)
class Failure:
    """Loops that stay down, and the sentence why; `escalation` says what that means for the host."""

    group: GroupConfig
    leader: str
    loops: set[str]
    sentence: str
    escalation: Escalation
    is_asked: bool = False  # the operator has stopped them

    @property
    def why(self) -> Why:
        """Return why those that live have to end."""
        return Why.STOPPED if self.is_asked else Why.GROUP


@dataclass(slots=True)
class RestartVerdict:
    """What follows a death: a round with its delay, or a failure."""

    delay_s: float = 0.0
    companions: tuple[str, ...] = ()  # who is restarted too
    failure: Failure | None = None


@dataclass(slots=True)
class RestartPolicy:
    """All of it for one life. `chance` returns a number from 0 to 1, a new one each time."""

    supervision: SupervisionConfig
    loops: Sequence[str]
    chance: Callable[[], float]
    order: tuple[str, ...] = ()
    rounds: list[Round] = field(default_factory=list[Round])
    failures: list[Failure] = field(default_factory=list[Failure])
    wake_at: float = math.inf  # when `steps` has to be asked again, if nothing happens before
    _groups: dict[str, GroupConfig] = field(default_factory=dict[str, GroupConfig])
    _backoffs: dict[str, RestartBackoff] = field(default_factory=dict[str, RestartBackoff])
    _intensities: dict[str, RestartIntensity] = field(default_factory=dict[str, RestartIntensity])
    _before: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def __post_init__(self) -> None:
        self.change(self.loops)

    def change(self, loops: Sequence[str]) -> None:
        """Go on with other loops; those that stay keep their past."""
        gone = set(self.loops) - set(loops)
        self.loops = loops
        self.order = start_order(loops, self.supervision)
        edges = [*edges_of(self.supervision.groups, self.supervision.depends), *part_edges(loops)]
        for loop in self.order:
            group = self._groups.setdefault(loop, self.supervision.group_of(loop))
            self._backoffs.setdefault(loop, RestartBackoff(group.restart, self.chance))
            self._intensities.setdefault(group.name, RestartIntensity(group.restart))
            self._before[loop] = tuple(dict.fromkeys(edge.before for edge in edges if edge.after == loop))
        for loop in gone:
            self._groups.pop(loop, None)
            self._backoffs.pop(loop, None)
            self._before.pop(loop, None)
        self.rounds = [one for one in self.rounds if self._without(one, gone)]
        for failure in self.failures:
            failure.loops -= gone
        self.failures = [failure for failure in self.failures if failure.loops]

    # What is

    def group_of(self, loop: str) -> GroupConfig:
        return self._groups[loop]

    def deaths(self, group: str, now: float) -> int:
        """Return how many deaths of a group count against its limit now."""
        return self._intensities[group].count(now)

    def failure_of(self, loop: str) -> Failure | None:
        """Return why a loop stays down."""
        return next((failure for failure in self.failures if loop in failure.loops), None)

    def is_stopped(self, loop: str) -> bool:
        """Tell whether the operator keeps a loop down."""
        failure = self.failure_of(loop)
        return failure is not None and failure.is_asked

    def dependents(self, loop: str) -> list[str]:
        """Return which loops wait while this one is down, in the order of their start."""
        after = self._dependents([loop])
        return [name for name in self.order if name in after and name != loop]

    def is_pending(self, loop: str) -> bool:
        """Tell whether a loop will be started with a round."""
        return any(loop in one.loops for one in self.rounds)

    def waits_for(self, loop: str) -> list[str]:
        """Return which failed loops keep this one down: it depends on them, or comes after them in its group."""
        return [name for name in self.order if name in self._failed() and loop in self._dependents([name])]

    def may_activate(self, loop: str, states: Mapping[str, LoopState]) -> bool:
        """Tell whether all that has to be active before this loop is; a loop that is not here counts for nothing."""
        return all(states.get(before, LoopState.ACTIVE) is LoopState.ACTIVE for before in self._before[loop])

    # What happens

    def died(self, loop: str, now: float, active_s: float, sentence: str, *, counts: bool = True) -> RestartVerdict:
        """Note an unexpected death, after `active_s` of service.

        One that does not count towards the group's limit is followed by a restart, however many there were.
        """
        group = self._groups[loop]
        if counts and self._intensities[group.name].died(now):
            policy = group.restart
            times = f"{policy.deaths} times" if policy.deaths > 1 else "once"
            who = loop if len(group.loops) == 1 else f"a loop of {group.name}"
            words = f"{who} died {times} in {policy.window_s:g} s, the last: {loop}, {sentence}"
            return RestartVerdict(failure=self._fail(group, loop, group.loops, words, group.escalation))
        delay_s = self._backoffs[loop].died(active_s)
        failed = self._failed()
        companions = tuple(name for name in self._companions(loop) if name not in failed)
        self._begin(Round(loop, frozenset((loop, *companions)), now + delay_s))
        return RestartVerdict(delay_s, companions)

    def failed_permanently(self, loop: str, sentence: str) -> RestartVerdict:
        """Note that another try would end the same way; that never ends a host that runs."""
        group = self._groups[loop]
        loops = (loop, *self._companions(loop))
        return RestartVerdict(failure=self._fail(group, loop, loops, sentence, Escalation.DEGRADED))

    def restart(self, loop: str, now: float) -> frozenset[str]:
        """Restart a loop because the operator asks for it, or start it again; return all loops that this concerns."""
        failure = self.failure_of(loop)
        companions = [name for name in self._companions(loop) if not self.is_stopped(name)]
        loops = frozenset(failure.loops if failure is not None else (loop, *companions))
        for name in loops:
            self.forgive(name)
        return self._begin(Round(loop, loops, now, Why.ASKED)).loops

    def stop(self, loop: str) -> None:
        """Keep a loop down until `restart`; what depends on it ends too, and waits. It counts as no death."""
        self._fail(self._groups[loop], loop, (loop,), STOPPED, Escalation.DEGRADED, is_asked=True)

    def replace(self, loop: str, now: float) -> None:
        """Have this one loop followed by a fresh process, whatever its group's strategy says. It counts as no death."""
        self._begin(Round(loop, frozenset((loop,)), now, Why.LOCK))

    def forgive(self, loop: str) -> None:
        """Forget the deaths of a loop that is started on request."""
        self._backoffs[loop].forget()
        self._intensities[self._groups[loop].name].forget()
        for failure in self.failures:
            failure.loops.discard(loop)
        self.failures = [failure for failure in self.failures if failure.loops]

    def _fail(
        self, group: GroupConfig, leader: str, loops: Iterable[str], sentence: str, escalation: Escalation,
        *, is_asked: bool = False,
    ) -> Failure:  # fmt: skip
        kept = {name for name in loops if name == leader or is_asked or not self.is_stopped(name)}
        failure = Failure(group, leader, kept, sentence, escalation, is_asked)
        for older in self.failures:
            older.loops -= failure.loops
        self.failures = [*(older for older in self.failures if older.loops), failure]
        self.rounds = [one for one in self.rounds if self._without(one, failure.loops)]
        return failure

    def _without(self, one: Round, loops: set[str]) -> bool:
        one.loops -= loops
        return bool(one.loops)

    def _begin(self, new: Round) -> Round:
        """Add a round, and return it, together with those that share a loop with it."""
        apart: list[Round] = []
        for one in self.rounds:
            if one.loops & new.loops:
                new.loops |= one.loops
                new.not_before = (
                    new.not_before if new.why in (Why.ASKED, Why.LOCK) else max(new.not_before, one.not_before)
                )
            else:
                apart.append(one)
        self.rounds = [*apart, new]
        return new

    def _companions(self, dead: str) -> tuple[str, ...]:
        """Return who is restarted with a dead one. Further processes go with their loop, and no loop with them."""
        group = self._groups[dead]
        others = _companions(group, dead)
        loops = others if group.strategy is Strategy.ONE_FOR_ONE else (dead, *others)
        parts = {loop: [name for name in self.order if is_part(name) and loop_of(name) == loop] for loop in loops}
        return tuple(name for loop in loops for name in (loop, *parts[loop]) if name != dead)

    # What to do

    def steps(self, now: float, loops: Mapping[str, LoopSnapshot]) -> list[RestartStep]:
        """Return what is to be done now, in this order; ask again after every change, and at `wake_at`."""
        failed = self._failed()
        blocked = self._dependents(failed) - failed
        found = self._ends(loops, failed, blocked)
        self.wake_at = math.inf
        for loop in self.order:
            seen = loops[loop]
            if seen.is_living:
                continue
            if loop in failed:
                found += [RestartStep(Do.FAIL, loop)] if seen.state is not LoopState.FAILED else []
            elif loop in blocked:
                found += [RestartStep(Do.WAIT, loop)] if seen.state is not LoopState.WAITING else []
            elif seen.state is LoopState.DOWN and self.is_pending(loop):
                found.append(RestartStep(Do.HOLD, loop))
            elif seen.state is LoopState.DOWN and seen.was_born:
                found.append(RestartStep(Do.WAIT, loop))  # the reason to end it has gone before it had
        starts = self._returns(loops, blocked | failed)  # before rounds end: who is in one starts with it
        starts += [step for one in tuple(self.rounds) for step in self._starts(now, one, loops, blocked)]
        return [*found, *sorted(starts, key=lambda step: self.order.index(step.loop))]

    def _ends(
        self, loops: Mapping[str, LoopSnapshot], failed: frozenset[str], blocked: frozenset[str]
    ) -> list[RestartStep]:
        found: list[RestartStep] = []
        together = [(one.loops, one.leader, one.why) for one in self.rounds]
        for failure in self.failures:
            after = self._dependents(failure.loops)
            together.append((frozenset(failure.loops) | after, failure.leader, failure.why))
        for names, leader, why in together:
            living = [name for name in self.order if name in names and loops[name].is_living]
            if not living or loops[living[-1]].is_ending or any(step.loop == living[-1] for step in found):
                continue
            name = living[-1]
            is_dependent = name in blocked and name not in failed
            found.append(RestartStep(Do.END, name, Why.DEPENDENCY if is_dependent else why, leader))
        return found

    def _starts(
        self, now: float, one: Round, loops: Mapping[str, LoopSnapshot], blocked: frozenset[str]
    ) -> list[RestartStep]:
        if any(loops[name].is_living for name in one.loops):
            return []
        if now < one.not_before:
            self.wake_at = min(self.wake_at, one.not_before)
            return []
        self.rounds.remove(one)
        return [RestartStep(Do.START, name) for name in self.order if name in one.loops and name not in blocked]

    def _returns(self, loops: Mapping[str, LoopSnapshot], down: frozenset[str]) -> list[RestartStep]:
        """Start those that wait no longer and are not in `down`: all that they depend on is active."""
        states = {name: seen.state for name, seen in loops.items()}
        return [
            RestartStep(Do.START, name)
            for name in self.order
            if states[name] is LoopState.WAITING
            and name not in down
            and not self.is_pending(name)
            and self.may_activate(name, states)
        ]

    def _failed(self) -> frozenset[str]:
        return frozenset(loop for failure in self.failures for loop in failure.loops)

    def _dependents(self, names: Iterable[str]) -> frozenset[str]:
        return dependents_of(names, self._before)


def _companions(group: GroupConfig, dead: str) -> tuple[str, ...]:
    """Return who is restarted with a loop that has died, in the order of their start."""
    if group.strategy is Strategy.ONE_FOR_ALL:
        return tuple(loop for loop in group.loops if loop != dead)
    if group.strategy is Strategy.REST_FOR_ONE:
        return group.loops[group.loops.index(dead) + 1 :]
    return ()
