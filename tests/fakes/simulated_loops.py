"""Loops without processes: a test says what happens, and they do what the restart policy wants."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsrt.channels.control.life import LoopState
from tlsrt.config.supervision import edges_of
from tlsrt.supervisor.supervision.restart_policy import Do, Failure, LoopSnapshot, RestartPolicy, RestartStep
from tlsrt.supervisor.supervision.states import LIVING

ACTIVE, READY, DOWN, DRAINING = LoopState.ACTIVE, LoopState.READY, LoopState.DOWN, LoopState.DRAINING
FAILED, WAITING, BACKOFF = LoopState.FAILED, LoopState.WAITING, LoopState.BACKOFF
LOOPS = ("primary", "a", "b", "c", "d", "e")


@dataclass
class SimulatedLoops:
    """Loops as `Loops` has them, without processes: a test says what happens, this does what the policy wants."""

    restart_policy: RestartPolicy
    now: float = 0.0
    states: dict[str, LoopState] = field(default_factory=dict[str, LoopState])
    leaving: set[str] = field(default_factory=set[str])
    done: list[RestartStep] = field(default_factory=list[RestartStep])
    breaths: list[list[str]] = field(default_factory=list[list[str]])  # who is started by one answer of the policy
    failures: list[Failure] = field(default_factory=list[Failure])

    def __post_init__(self) -> None:
        self.states = dict.fromkeys(LOOPS, ACTIVE)

    def look(self) -> None:
        while steps := self.restart_policy.steps(
            self.now, {n: LoopSnapshot(s, n in self.leaving) for n, s in self.states.items()}
        ):
            self.breaths.append([step.loop for step in steps if step.do is Do.START])
            for step in steps:
                self.take(step)
            assert len(self.done) < 10_000, "it does not come to rest"
        self.activate()

    def take(self, step: RestartStep) -> None:
        self.done.append(step)
        name, state = step.loop, self.states[step.loop]
        if step.do is Do.END:
            assert state in LIVING and name not in self.leaving, "no loop is asked twice"
            self.leaving.add(name)
            self.states[name] = DRAINING
            return
        assert state not in LIVING, f"{step.do} of {name}, which lives: a second copy"
        if step.do is Do.START:
            assert not self.restart_policy.waits_for(name), "no loop starts to be ended again"
            assert self.restart_policy.failure_of(name) is None, "no loop starts that was given up"
        self.states[name] = {Do.HOLD: BACKOFF, Do.START: READY, Do.WAIT: WAITING, Do.FAIL: FAILED}[step.do]

    def activate(self) -> None:
        """Ready loops become active as soon as they may; that is looked at again."""
        for name in self.restart_policy.order:
            if self.states[name] is READY and self.restart_policy.may_activate(name, self.states):
                late = [other for other in self.befores(name) if self.states[other] is not ACTIVE]
                assert not late, f"{name} is active before {late}"
                self.states[name] = ACTIVE
                self.look()
                return

    def befores(self, name: str) -> list[str]:
        supervision = self.restart_policy.supervision
        return [edge.before for edge in edges_of(supervision.groups, supervision.depends) if edge.after == name]

    def die(self, name: str, active_s: float = 100.0) -> None:
        if self.states[name] not in LIVING:
            return
        self.states[name] = DOWN
        if name in self.leaving:
            self.leaving.discard(name)
        elif self.restart_policy.failure_of(name) is None and not self.restart_policy.is_pending(name):
            verdict = self.restart_policy.died(name, self.now, active_s, "signal SIGKILL")
            if verdict.failure is not None:
                self.failures.append(verdict.failure)
        self.look()

    def rest(self) -> None:
        """Let all who are leaving leave, and time pass, until nothing happens any more."""
        for _ in range(1000):
            if self.leaving:
                self.die(min(self.leaving))
            elif self.restart_policy.wake_at < float("inf"):
                self.now = max(self.now, self.restart_policy.wake_at)
                self.look()
            else:
                return
        raise AssertionError("it does not come to rest")

    def did(self, do: Do) -> list[str]:
        return [step.loop for step in self.done if step.do is do]
