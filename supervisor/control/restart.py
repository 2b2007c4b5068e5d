"""`restart LOOP`, the operator's word: drain a loop and start it again, or start one that was given up.

Who restarts with it is what its group's strategy says. The answer comes when all of them are active, or are not going
to be; whoever asked may leave before.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.control.server import Request
from tlsrt.supervisor.process.children import Common
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import SETTLED

Reply = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request under way: its loops with their incarnations before."""

    loops: dict[str, int]
    began: float
    reply: Reply


class RestartRequest:
    """All requests of one life. `look` is called after every change of a loop."""

    def __init__(self, common: Common, fleet: Loops, is_reloading: Callable[[], bool]) -> None:
        self._common = common
        self._fleet = fleet
        self._is_reloading = is_reloading
        self._asked: list[_Asked] = []

    def ask(self, request: Request, reply: Reply) -> None:
        """Restart the loop that the request names; `reply` gets a document, or `refused` with a sentence."""
        name = request.get("loop")
        sentence = self._refusal(name) if isinstance(name, str) else "name a loop"
        if sentence:
            reply({"refused": sentence})
            return
        now = self._common.reactor.now
        loops = self._fleet.regime.restart(str(name), now)
        before = {member.name: member.incarnation for member in self._fleet.members if member.name in loops}
        self._common.console.plain(str(name), "restart", f"asked for{_with(loops - {str(name)})}")
        self._asked.append(_Asked(before, now, reply))
        self._fleet.on_changed()

    def _refusal(self, name: str) -> str:
        """Return why a loop cannot be restarted now; an empty text if it can."""
        names = [member.name for member in self._fleet.members]
        if self._fleet.stopping:
            return "tlsrt is stopping"
        if name == AUTHORITY:
            return "the authority cannot be restarted by hand: it comes again by itself, and a reload replaces it"
        if name not in names:
            near = difflib.get_close_matches(name[:200], names, n=1, cutoff=0.5)
            hint = f", did you mean {near[0]}?" if near else f": there are {', '.join(names)}"
            return f"there is no loop {name[:60]!r}{hint}"
        if self._is_reloading():
            return "a reload is being carried out: try again when it is done"
        member = self._fleet.member(name)
        if member.state is LoopState.WAITING:
            others = self._fleet.regime.waits_for(name)
            if not others:
                return f"{name} comes back by itself as soon as what it depends on is active"
            return f"{name} waits for {', '.join(others)} and comes back by itself: restart {others[0]}"
        if member.is_leaving or any(name in asked.loops for asked in self._asked):
            return f"{name} is being restarted already"
        return ""

    def look(self) -> None:
        """Answer whoever needs to wait no longer."""
        for asked in tuple(self._asked):
            members = [self._fleet.member(name) for name in asked.loops]
            if all(self._is_settled(member, asked) for member in members):
                self._asked.remove(asked)
                asked.reply(self._answer(members, asked))

    def cancel(self) -> None:
        """The host ends: say so to all who wait."""
        asked, self._asked = self._asked, []
        for one in asked:
            one.reply({"refused": "tlsrt is stopping"})

    def _is_settled(self, member: Loop, asked: _Asked) -> bool:
        if self._fleet.regime.is_pending(member.name) or member.state not in SETTLED:
            return False
        return member.state is not LoopState.ACTIVE or member.incarnation > asked.loops[member.name]

    def _answer(self, members: list[Loop], asked: _Asked) -> dict[str, Any]:
        entries = [self._entry(member, asked) for member in members]
        return {"loops": entries, "failed": any(entry["state"] != LoopState.ACTIVE for entry in entries)}

    def _entry(self, member: Loop, asked: _Asked) -> dict[str, Any]:
        is_active = member.state is LoopState.ACTIVE and member.active_at is not None
        took_ms = round((member.active_at - asked.began) * 1000) if is_active and member.active_at else None
        pid = member.child.host_pid if member.child is not None else None
        why = None if is_active else str(member.last_death)
        return {"name": member.name, "state": str(member.state), "pid": pid, "took_ms": took_ms, "reason": why}


def _with(others: frozenset[str]) -> str:
    return f", and {', '.join(sorted(others))} with it" if others else ""
