"""A change of profiles while the host runs: what happens to each loop, the epoch, and the end of waiting.

Nothing here goes back. The new state has been checked and is the only one in force, so whatever dies meanwhile comes
back under it or not at all. In this order:

1. Loops that need no new process get their tighter limits; one that cannot be given them is restarted.
2. The others are drained and end, Primary as the last one, so that answers still find their way. Each is forked again
   under its new profile at once; it gets no keys yet.
3. If the authority's own profile has changed, it ends and comes again.
4. The authority moves the epoch without grace. Every loop that stayed acknowledges, and is looked at with its new
   profile; who is late is refused by all and killed. Then the new processes get keys, of the new epoch only.
5. Over when every loop is active and says that it works in the new epoch, or has been given up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.process.children import Common, Parts
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.reload.plan import ReloadStep, Way
from tlsrt.supervisor.reload.report import DIGEST_SHOWN, LoopReport
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.graceful_stop import GracefulStop
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import DOWN_FOR_GOOD, LoopEvent

FAREWELL_S = 5.0  # no process works longer than this under a profile that is not in force any more
SLACK_S = 10.0  # beyond the time that loops may take to end and to start


class Rollout:
    """One change under way; `on_done` gets the epoch and a report per loop, once."""

    def __init__(
        self, common: Common, fleet: Loops, office: AuthorityProcess, steps: Sequence[ReloadStep], number: int,
        on_done: Callable[[int, list[LoopReport]], None],
    ) -> None:  # fmt: skip
        self._common = common
        self._fleet = fleet
        self._office = office
        self._steps: Mapping[str, ReloadStep] = {step.name: step for step in steps}
        self._number = number
        self._on_done = on_done
        self._began = common.reactor.now
        self._left: dict[str, float] = {}  # loop -> when its end began
        self._before = {member.name: _digest(member) for member in fleet.members}
        self._incarnations = {member.name: member.incarnation for member in fleet.members}
        self._has_begun = False
        self._later: list[Loop] = []
        self._wants_epoch = False
        self._epoch = 0
        limits = common.config.limits
        longest_s = 2 * (limits.stop_timeout_s + limits.ready_timeout_s) + SLACK_S
        self._deadline = common.reactor.call_later(longest_s, self._finish)

    def begin(self) -> None:
        """Start with what needs no new process, then let the others end."""
        leaving = [member for member in self._fleet.members if not self._stays(member)]
        self._later = [member for member in leaving if member.is_primary]
        for member in leaving:
            if not member.is_primary:
                self._let_go(member)
        self._has_begun = True
        self._go_on()

    def cancel(self) -> None:
        """Stop deciding anything: the host ends."""
        self._deadline.cancel()

    # What happens

    def left(self, member: Loop) -> None:
        """A loop has made room: fork the one under the new profile."""
        member.is_proven = False
        if not self._fleet.regime.is_pending(member.name):  # or it starts with others of its group
            member.restarts += 1
            self._renew(member)
        self._fleet.on_changed()
        self._go_on()

    def authority_booted(self) -> None:
        """The authority has come again, for whatever reason: what it was asked before it does not know."""
        if self._wants_epoch:
            self._office.move(self._number)

    def moved(self, number: int, epoch: int) -> None:
        """The epoch is committed."""
        if number == self._number:
            self._epoch = epoch
            self.look()

    def look(self) -> None:
        """Go on, or end if nothing is left to wait for."""
        self._go_on()
        self._look_at_the_end()

    def _look_at_the_end(self) -> None:
        if self._epoch and all(self._is_settled(member) for member in self._fleet.members):
            self._finish()

    # Steps

    def _stays(self, member: Loop) -> bool:
        """Apply the step of a loop that needs no new process; say whether it is done with that."""
        step = self._steps[member.name]
        if step.way is Way.UNCHANGED:
            adopt(member, self._common.parts)
            return True
        if member.is_leaving or member.state in (LoopState.DOWN, LoopState.BACKOFF, LoopState.WAITING):
            member.is_proven = False  # it will be forked under the new profile
            return True
        if step.is_live and member.is_trusted:
            problems = adopt(member, self._common.parts, step.limits)
            if not problems:
                return True
            self._common.console.warning(member.name, f"restarted, since {'; '.join(problems)}")
        return False

    def _let_go(self, member: Loop) -> None:
        self._left[member.name] = self._common.reactor.now
        if not member.is_living:  # it was given up under its old profile
            member.move(LoopEvent.STOP)
            self._renew(member)
            return
        member.judge(Cause.RELOAD, "replaced, since its profile has changed")
        GracefulStop(self._common, self._fleet, member, self.left, FAREWELL_S).begin("its profile has changed")

    def _renew(self, member: Loop) -> None:
        member.is_proven = False
        self._fleet.regime.forgive(member.name)
        self._fleet.respawn(member)

    def _go_on(self) -> None:
        if not self._has_begun or self._wants_epoch or self._is_anybody_leaving():
            return
        if self._later:
            self._let_go(self._later.pop())
            if self._is_anybody_leaving():
                return
        self._wants_epoch = True
        if not self._authority_stays():
            self._office.replace()  # `authority_booted` goes on
        elif self._office.is_booted:
            self._office.move(self._number)
        self._look_at_the_end()

    def _is_anybody_leaving(self) -> bool:
        return any(member.is_leaving for member in self._fleet.members)

    def _authority_stays(self) -> bool:
        step, child = self._steps[AUTHORITY], self._office.child
        if child is None or step.way is Way.UNCHANGED:
            self._office.parts = self._common.parts
            return True  # or it is on its way back, under its new profile
        if not step.is_live or self._common.parts.tighten(AUTHORITY, child.pid, step.limits):
            return False
        self._office.parts = self._common.parts
        return True

    # The end

    def _is_settled(self, member: Loop) -> bool:
        if member.state in DOWN_FOR_GOOD:
            return True
        return member.state is LoopState.ACTIVE and member.beat is not None and member.beat.epoch >= self._epoch

    def _finish(self) -> None:
        self._deadline.cancel()
        self._on_done(self._epoch, [self._report(member) for member in self._fleet.members])

    def _report(self, member: Loop) -> LoopReport:
        step = self._steps[member.name]
        digest = self._common.parts.sandbox(member.name).digest.hex()
        if not self._epoch or not self._is_settled(member) or member.state in DOWN_FOR_GOOD:
            return LoopReport(member.name, "failed", digest, step.changed, reason=self._why(member))
        if member.incarnation == self._incarnations[member.name]:
            return LoopReport(member.name, str(step.way), digest, step.changed)
        since = self._left.get(member.name, self._began)
        elapsed_s = (member.active_at or since) - since
        reason = "" if member.name in self._left else str(member.last_death or "")
        return LoopReport(member.name, str(Way.RESTART), digest, step.changed, round(elapsed_s * 1000), reason)

    def _why(self, member: Loop) -> str:
        if member.state is LoopState.ACTIVE:
            return "it does not say that it works in the new epoch" if self._epoch else "the epoch was not committed"
        if member.state is LoopState.WAITING:
            return f"it waits for {', '.join(self._fleet.regime.waits_for(member.name)) or 'what it depends on'}"
        why = str(member.last_death or "it does not become active")
        before = self._before.get(member.name, "")[:DIGEST_SHOWN]
        if self._steps[member.name].way is Way.UNCHANGED or not before:
            return why
        return f"{why}; it stays down, for its profile before, {before}, is not used again: correct it and reload"


def _digest(member: Loop) -> str:
    return member.parts.sandbox(member.name).digest.hex() if member.parts is not None else ""


def adopt(member: Loop, parts: Parts, limits: Mapping[str, int] | None = None) -> list[str]:
    """Let a living loop go on under other parts; return what was not possible, and then it has not changed over."""
    if member.child is not None:
        problems = parts.tighten(member.name, member.child.pid, limits or {})
        if problems:
            return problems
    member.parts = parts
    rules = parts.call_rules(member.name)
    if member.sentry is not None and rules is not None:
        member.sentry.follow(rules)
    return []
