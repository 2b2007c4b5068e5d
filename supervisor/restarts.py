"""What follows a death: again at once, again later, or never. Every kind of restart is decided here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tlsrt.channels.life import LoopState
from tlsrt.supervisor.lifecycle import Event
from tlsrt.supervisor.member import Hopeless, Member
from tlsrt.supervisor.parts import Common


class Restarts:
    """Decides by the backoff of each loop; `spawn` and the other callbacks do what it decided."""

    def __init__(self, common: Common, spawn: Callable[[Member], None]) -> None:
        self._common = common
        self._spawn = spawn
        self.on_failed: Callable[[Member], None] = lambda member: None
        self.on_unconfined: Callable[[Member], None] = lambda member: None

    def decide(self, member: Member, active_s: float, hopeless: Hopeless | None) -> None:
        """Decide for a loop that is down after `active_s` of service.

        What never served under its present profile is given up without hope; no other profile is tried.
        """
        if hopeless is not None and not member.is_proven:
            member.move(Event.GIVE_UP)
            if hopeless is Hopeless.SANDBOX and not member.was_active:
                self.on_unconfined(member)
            else:
                self._give_up(member)
            return
        delay_s = member.backoff.died(self._common.reactor.now, active_s)
        if delay_s is None:
            member.move(Event.GIVE_UP)
            self._give_up(member)
        else:
            self._retry(member, delay_s)

    def _give_up(self, member: Member) -> None:
        self._common.console.bad(member.name, "failed", f"{member.last_death}; given up")
        self.on_failed(member)

    def _retry(self, member: Member, delay_s: float) -> None:
        when = f"again in {delay_s:g} s" if delay_s else "again at once"
        self._common.console.bad(member.name, "died", f"{member.last_death}; {when}")
        member.move(Event.RETRY)
        if delay_s:
            member.set_deadline(self._common.reactor.call_later(delay_s, partial(self._again, member)))
        else:
            self._again(member)

    def _again(self, member: Member) -> None:
        if member.state is LoopState.BACKOFF:  # a stop has taken it out of there
            member.move(Event.BACKOFF_OVER)
            member.restarts += 1
            self._spawn(member)
