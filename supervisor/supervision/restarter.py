"""What follows a death: `restart_policy.py` decides, and this carries it out and says so."""

from __future__ import annotations

from tlsrt.channels.control.life import LoopState
from tlsrt.config.supervision import Escalation
from tlsrt.errors import EX_UNAVAILABLE, SandboxError
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import Cause, said_by
from tlsrt.supervisor.process.logs import last_line
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, Features
from tlsrt.supervisor.supervision.graceful_stop import GracefulStop
from tlsrt.supervisor.supervision.loop import Loop, PermanentFailure
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.restart_policy import Do, Failure, LoopSnapshot, RestartStep, RestartVerdict, Why
from tlsrt.supervisor.supervision.states import LoopEvent

LOCKED_S = 1.0  # for the Primary of a locked host to say goodbye: it is not trusted with more
_WHY = {
    Why.GROUP: (Cause.GROUP, "ended, since {of} of its group has ended"),
    Why.DEPENDENCY: (Cause.DEPENDENCY, "ended, since {of} is not there, which it depends on"),
    Why.ASKED: (Cause.RESTART, "restarted, as the operator asked"),
    Why.STOPPED: (Cause.STOPPED, "stopped, as the operator asked"),
    Why.LOCK: (Cause.LOCK, "replaced, since the host was unlocked"),
}


class Restarter(Feature):
    """Carries out the steps of the restart policy; `look` is called after every change that it sees."""

    def __init__(self, context: Context, loops: Loops, features: Features) -> None:
        self._context = context
        self._features = features
        self._loops = loops
        self._restart_policy = loops.restart_policy
        self._timer: Timer | None = None
        self._is_looking = False
        self._has_changed = False

    def loop_active(self, loop: Loop) -> None:
        self.look()

    def loop_died(self, loop: Loop, active_s: float, permanent: PermanentFailure | None) -> None:
        """Decide what follows an unexpected death after `active_s` of service.

        A loop that never served under its present profile is given up; no other profile is tried.
        """
        # What a component says of its options holds for all its lives: they change by a reload only, as does what was
        # measured.
        holds = permanent in (PermanentFailure.CONFIGURATION, PermanentFailure.CODE)
        is_permanent = holds or (permanent is not None and not loop.is_proven)
        if is_permanent and permanent is PermanentFailure.SANDBOX and not loop.was_active and not loop.config.is_part:
            loop.move(LoopEvent.GIVE_UP)
            why = last_line(loop.log_path) or str(loop.last_death or "unknown")
            self._features.refused(SandboxError(loop.name, why))
            return
        if self._restart_policy.failure_of(loop.name) is None and not self._restart_policy.is_pending(loop.name):
            sentence = str(loop.last_death)
            if is_permanent:
                verdict = self._restart_policy.failed_permanently(loop.name, sentence)
            else:
                is_of_disk = loop.last_death is not None and loop.last_death.cause is Cause.DISK
                now = self._context.event_loop.now
                verdict = self._restart_policy.died(loop.name, now, active_s, sentence, counts=not is_of_disk)
            self._say(loop, verdict)
            if verdict.failure is not None and verdict.failure.escalation is Escalation.EXIT:
                self._escalate(verdict.failure)
        self.look()

    def loop_unwell(self, loop: Loop, sentence: str) -> None:
        """End a loop in order, since a component of it is not well: calls under way finish. It counts as a death."""
        active_s = self._context.event_loop.now - loop.process.active_at if loop.process.active_at is not None else 0.0
        loop.process.set_kill_reason(Cause.HEALTH, sentence)
        GracefulStop(self._context, self._loops, loop, lambda dead: self.loop_died(dead, active_s, None)).begin(
            sentence
        )

    def left(self, loop: Loop) -> None:
        """Go on: a loop has ended that was asked to."""
        self.look()

    def look(self) -> None:
        """Carry out all steps that are due, also those that follow from them."""
        self._has_changed = True
        if self._is_looking:
            return
        self._is_looking = True
        pending = [loop for loop in self._loops.all if self._restart_policy.is_pending(loop.name)]
        try:
            while self._has_changed and not self._loops.is_stopping:
                self._has_changed = False
                for step in self._restart_policy.steps(self._context.event_loop.now, self._loops_now()):
                    self._do(step)
        finally:
            self._is_looking = False
        self._set_timer()
        for loop in pending:
            if not loop.is_living and not self._restart_policy.is_pending(loop.name):
                self._features.loop_changed(loop)  # its restart is over without a start: it waits, or was given up

    def _loops_now(self) -> dict[str, LoopSnapshot]:
        loops = self._loops.all
        return {one.name: LoopSnapshot(one.state, one.is_ending, one.incarnation > 0) for one in loops}

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = self._restart_policy.wake_at - self._context.event_loop.now
        is_waiting = wait_s < float("inf") and not self._loops.is_stopping
        self._timer = self._context.event_loop.call_later(max(0.0, wait_s), self.look) if is_waiting else None

    def _do(self, step: RestartStep) -> None:
        loop = self._loops.by_name(step.loop)
        if step.do is Do.END:
            self._end(loop, step)
        elif step.do is Do.HOLD:
            loop.move(LoopEvent.RETRY)
            self._loops.activate_next()  # it may have been its turn
        elif step.do is Do.START:
            _put_down(loop)
            loop.restarts += 1
            self._loops.respawn(loop)
        elif step.do is Do.WAIT:
            _put_down(loop)
            loop.move(LoopEvent.WAIT)
            if others := self._restart_policy.waits_for(loop.name):
                text = f"for {', '.join(others)}, and comes back with {'it' if len(others) == 1 else 'them'}"
                self._context.console.bad(loop.name, "waiting", text)
            self._loops.activate_next()
            self._features.loop_changed(loop)
        else:
            _put_down(loop)
            loop.move(LoopEvent.KEEP_DOWN if self._restart_policy.is_stopped(loop.name) else LoopEvent.GIVE_UP)
            self._loops.activate_next()
            self._features.loop_changed(loop)
        self._has_changed = True

    def _end(self, loop: Loop, step: RestartStep) -> None:
        cause, words = _WHY[step.why]
        loop.process.set_kill_reason(cause, words.format(of=step.of))
        longest_s = LOCKED_S if step.why is Why.LOCK else float("inf")
        stop = GracefulStop(self._context, self._loops, loop, self.left, longest_s, is_short=step.why is Why.LOCK)
        stop.begin(words.format(of=step.of))

    # What people read

    def _say(self, loop: Loop, verdict: RestartVerdict) -> None:
        console = self._context.console
        said = said_by(loop.last_death.said) if loop.last_death is not None else ""
        if verdict.failure is not None:
            console.bad(loop.name, "failed", f"{loop.last_death}; given up{_with(verdict.failure)}{said}")
            return
        when = f"again in {verdict.delay_s:.3g} s" if verdict.delay_s else "again at once"
        self._context.events.emit("backoff", loop.name, when, delay_s=round(verdict.delay_s or 0.0, 3))
        along = f", with {', '.join(verdict.companions)}" if verdict.companions else ""
        console.bad(loop.name, "died", f"{loop.last_death}; {when}{along}{said}")

    def _escalate(self, failure: Failure) -> None:
        text = f"{failure.sentence}; the host stops with exit code {EX_UNAVAILABLE}, as escalate: exit says"
        self._context.console.bad(failure.group.name, "failed", text)
        self._context.events.emit("escalated", failure.group.name, failure.sentence)
        self._features.failed(EX_UNAVAILABLE)


def _with(failure: Failure) -> str:
    others = sorted(failure.loops - {failure.leader})
    return f" with {', '.join(others)}" if others else ""


def _put_down(loop: Loop) -> None:
    """Take a loop that is not living out of whatever it waits in."""
    if loop.state is LoopState.BACKOFF:
        loop.move(LoopEvent.BACKOFF_OVER)
    elif loop.state is not LoopState.DOWN:
        loop.move(LoopEvent.STOP)
