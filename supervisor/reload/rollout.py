"""Rollout of changed profiles while the host runs: loops, the authority, and the epoch.

Nothing here goes back. The new state has been checked and is the only one in force, so whatever dies meanwhile comes
back under it or not at all. In this order:

1. Loops that need no new process get their tighter limits; one that cannot be given them is restarted.
2. The others are drained and end, Primary as the last one, so that answers still find their way. Each is forked again
   under its new profile at once; it gets no keys yet. One that the configuration has no more stays away. Then those
   that it has anew are forked.
3. If the authority's own profile has changed, it ends and comes again.
4. The authority moves the epoch without grace. Every loop that stayed acknowledges, and is attested with its new
   profile; who is late is refused by all and killed. Then the new processes get keys, of the new epoch only.
5. Over when every loop is active and says that it works in the new epoch, or has been given up, or was failing before
   and is not of this change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.process.children import Children
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.reload.plan import ReloadStep, Way
from tlsrt.supervisor.reload.report import DIGEST_SHOWN, STOPPED, LoopReport
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.graceful_stop import GracefulStop, end_s
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.restarter import Restarter
from tlsrt.supervisor.supervision.states import DOWN_FOR_GOOD, LoopEvent

FAREWELL_S = 5.0  # no process works longer than this under a profile that is not in force any more, but to end programs
SLACK_S = 10.0  # beyond the time that loops may take to end and to start


class Rollout(Feature):
    """One running change. `Reload` passes on to it what it hears; `on_done` gets the epoch and a report per loop."""

    def __init__(
        self, context: Context, loops: Loops, restarter: Restarter, authority: AuthorityProcess,
        steps: Sequence[ReloadStep], number: int, on_done: Callable[[int, list[LoopReport]], None],
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._restarter = restarter
        self._authority = authority
        self._steps: Mapping[str, ReloadStep] = {step.name: step for step in steps}
        self._number = number
        self._on_done = on_done
        self._began = context.event_loop.now
        self._left: dict[str, float] = {}  # loop -> when its end began
        self._before = {loop.name: _digest(loop) for loop in loops.all}
        self._incarnations = {loop.name: loop.incarnation for loop in loops.all}
        self._was_away = {loop.name for loop in loops.all if loop.state is not LoopState.ACTIVE}
        self._has_begun = False
        self._later: list[Loop] = []
        self._removed: list[LoopReport] = []
        self._wants_epoch = False
        self._epoch = 0
        limits = context.current.config.limits
        programs_s = max(
            (end_s(one.managed_by.programs_of(one.name)) for one in loops.all if one.managed_by), default=0
        )
        longest_s = 2 * (limits.stop_timeout_s + limits.ready_timeout_s) + programs_s + SLACK_S
        self._deadline = context.event_loop.call_later(longest_s, self._finish)

    def begin(self) -> None:
        """Start with what needs no new process, then let the others end."""
        leaving = [loop for loop in self._loops.all if not self._stays(loop)]
        self._later = [loop for loop in leaving if loop.is_primary]
        for loop in leaving:
            if not loop.is_primary:
                self._let_go(loop)
        for loop in [loop for loop in self._loops.all if self._is_removed(loop) and loop not in leaving]:
            self._drop(loop)  # it was down
        self._has_begun = True
        self._go_on()

    def cancel(self) -> None:
        """Stop deciding anything: the host ends."""
        self._deadline.cancel()

    # What happens

    def left(self, loop: Loop) -> None:
        """A loop has made room: fork the one under the new profile, unless it is removed."""
        if self._is_removed(loop):
            self._drop(loop)
            self._restarter.look()
            self._go_on()
            return
        loop.is_proven = False
        if not self._loops.restart_policy.is_pending(loop.name):  # or it starts with others of its group
            loop.restarts += 1
            self._renew(loop)
        self._restarter.look()
        self._go_on()

    def authority_booted(self) -> None:
        """Ask again for the epoch: a restarted authority does not know what it was asked."""
        if self._wants_epoch:
            self._authority.channel.move(self._number)

    def moved(self, number: int, epoch: int) -> None:
        """The epoch is committed."""
        if number == self._number:
            self._epoch = epoch
            self._look()

    def loop_changed(self, loop: Loop) -> None:
        self._look()

    def _look(self) -> None:
        """Go on, or end if nothing is left to wait for."""
        self._go_on()
        self._look_at_the_end()

    def _look_at_the_end(self) -> None:
        if self._epoch and all(self._is_settled(loop) for loop in self._loops.all):
            self._finish()

    # Steps

    def _stays(self, loop: Loop) -> bool:
        """Apply the step of a loop that needs no new process; say whether it is done with that."""
        step = self._steps[loop.name]
        if step.way is Way.UNCHANGED:
            adopt(loop, self._context.current.children)
            return True
        if step.way is Way.ADDED:
            return True  # it is down until all others have made room
        if step.way is Way.REMOVED:
            return not loop.is_living
        is_stopped = self._loops.restart_policy.is_stopped(loop.name)
        if is_stopped or loop.is_ending or loop.state in (LoopState.DOWN, LoopState.BACKOFF, LoopState.WAITING):
            loop.is_proven = False  # it will be forked under the new profile
            return True
        if step.is_live and loop.is_trusted:
            problems = adopt(loop, self._context.current.children, step.limits)
            if not problems:
                return True
            self._context.console.warning(loop.name, f"restarted, since {'; '.join(problems)}")
        return False

    def _is_removed(self, loop: Loop) -> bool:
        return self._way_of(loop) is Way.REMOVED

    def _is_to_be_born(self, loop: Loop) -> bool:
        """Tell whether an added process is ours to fork: not one that waits for its loop, or starts with it."""
        is_down = loop.state is LoopState.DOWN and not self._loops.restart_policy.is_pending(loop.name)
        return self._way_of(loop) is Way.ADDED and is_down

    def _way_of(self, loop: Loop) -> Way | None:
        """Return what happens to a process; None for one that a later reload has added."""
        step = self._steps.get(loop.name)
        return step.way if step is not None else None

    def _drop(self, loop: Loop) -> None:
        since = self._left.get(loop.name, self._began)
        took_ms = round((self._context.event_loop.now - since) * 1000)
        self._removed.append(LoopReport(loop.name, str(Way.REMOVED), "", took_ms=took_ms))
        self._loops.remove(loop)

    def _let_go(self, loop: Loop) -> None:
        self._left[loop.name] = self._context.event_loop.now
        if self._is_removed(loop):
            loop.process.set_kill_reason(Cause.RELOAD, "ended, since the configuration has it no more")
            if loop.process.graceful_stop is not None:
                loop.process.graceful_stop.then = self.left
            else:
                stop = GracefulStop(self._context, self._loops, loop, self.left, FAREWELL_S)
                stop.begin("the configuration has it no more")
            return
        if not loop.is_living:  # it was given up under its old profile
            loop.move(LoopEvent.STOP)
            self._renew(loop)
            return
        loop.process.set_kill_reason(Cause.RELOAD, "replaced, since its profile has changed")
        GracefulStop(self._context, self._loops, loop, self.left, FAREWELL_S).begin("its profile has changed")

    def _renew(self, loop: Loop) -> None:
        loop.is_proven = False
        self._loops.restart_policy.forgive(loop.name)
        self._loops.respawn(loop)

    def _go_on(self) -> None:
        if not self._has_begun or self._wants_epoch or self._is_anybody_leaving():
            return
        if self._later:
            self._let_go(self._later.pop())
            if self._is_anybody_leaving():
                return
        for loop in self._loops.all:
            if self._is_to_be_born(loop):
                self._loops.respawn(loop)
        self._wants_epoch = True
        if not self._authority_stays():
            self._authority.replace()  # `authority_booted` goes on
        elif self._authority.is_booted:
            self._authority.channel.move(self._number)
        self._look_at_the_end()

    def _is_anybody_leaving(self) -> bool:
        return any(loop.is_ending for loop in self._loops.all)

    def _authority_stays(self) -> bool:
        step, child = self._steps[AUTHORITY], self._authority.process.child
        if child is None or step.way is Way.UNCHANGED:
            self._authority.managed_by = self._context.current.children
            return True  # or it is on its way back, under its new profile
        if not step.is_live or self._context.current.children.tighten(AUTHORITY, child.pid, step.limits):
            return False
        self._authority.managed_by = self._context.current.children
        return True

    # The end

    def _is_settled(self, loop: Loop) -> bool:
        if loop.state in DOWN_FOR_GOOD or self._fails_as_before(loop):
            return True
        return (
            loop.state is LoopState.ACTIVE and loop.process.beat is not None and loop.process.beat.epoch >= self._epoch
        )

    def _fails_as_before(self, loop: Loop) -> bool:
        """Tell whether a process dies again and again without our doing: no change of others waits for it."""
        is_ours = self._way_of(loop) is not Way.UNCHANGED
        return not is_ours and loop.state is LoopState.BACKOFF and loop.name in self._was_away

    def _finish(self) -> None:
        self._deadline.cancel()
        self._on_done(self._epoch, [*(self._report(loop) for loop in self._loops.all), *self._removed])

    def _report(self, loop: Loop) -> LoopReport:
        step = self._steps[loop.name]
        if step.way is Way.REMOVED:
            return LoopReport(loop.name, "failed", "", reason="it does not end")
        digest = self._context.current.children.sandbox(loop.name).digest.hex()
        if self._loops.restart_policy.is_stopped(loop.name):
            return LoopReport(loop.name, STOPPED, digest, step.changed, reason="until it is started")
        if not self._epoch or not self._is_settled(loop) or loop.state is not LoopState.ACTIVE:
            return LoopReport(loop.name, "failed", digest, step.changed, reason=self._why(loop))
        if loop.incarnation == self._incarnations[loop.name]:
            return LoopReport(loop.name, str(step.way), digest, step.changed)
        if step.way is Way.ADDED:
            took_ms = round(((loop.process.active_at or loop.spawned_at) - loop.spawned_at) * 1000)
            return LoopReport(loop.name, str(Way.ADDED), digest, took_ms=took_ms)
        since = self._left.get(loop.name, self._began)
        elapsed_s = (loop.process.active_at or since) - since
        reason = "" if loop.name in self._left else str(loop.last_death or "")
        return LoopReport(loop.name, str(Way.RESTART), digest, step.changed, round(elapsed_s * 1000), reason)

    def _why(self, loop: Loop) -> str:
        if loop.state is LoopState.ACTIVE:
            return "it does not say that it works in the new epoch" if self._epoch else "the epoch was not committed"
        if loop.state is LoopState.WAITING:
            return f"it waits for {', '.join(self._loops.restart_policy.waits_for(loop.name)) or 'what it depends on'}"
        why = loop.last_death.in_words if loop.last_death is not None else "it does not become active"
        before = self._before.get(loop.name, "")[:DIGEST_SHOWN]
        if self._steps[loop.name].way is Way.UNCHANGED or not before:
            return why
        return f"{why}; it stays down, for its profile before, {before}, is not used again: correct it and reload"


def _digest(loop: Loop) -> str:
    return loop.managed_by.sandbox(loop.name).digest.hex() if loop.managed_by is not None else ""


def adopt(loop: Loop, children: Children, limits: Mapping[str, int] | None = None) -> list[str]:
    """Put a living loop under other profiles; return what is not possible: then nothing changed."""
    if loop.process.child is not None:
        problems = children.tighten(loop.name, loop.process.child.pid, limits or {})
        if problems:
            return problems
    loop.managed_by = children
    rules = children.call_rules(loop.name)
    if loop.process.syscall_monitor is not None and rules is not None:
        loop.process.syscall_monitor.follow(rules)
    return []
