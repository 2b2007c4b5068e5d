"""The verb `restart`: drain a loop and start it again, or start one that was given up.

Who restarts with it is what its group's strategy says. The answer comes when all of them are active, or are not going
to be; the operator may leave before.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import ControlVerb, Feature, Reply, Request
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.pending_answers import PendingAnswers
from tlsrt.supervisor.supervision.restarter import Restarter
from tlsrt.supervisor.supervision.running_changes import RunningChanges
from tlsrt.supervisor.supervision.states import SETTLED


@dataclass(frozen=True, slots=True)
class _RunningRestart:
    """One running request: its loops with their incarnations before."""

    loops: dict[str, int]
    began: float


class RestartRequest(Feature):
    """All requests of one life."""

    def __init__(self, context: Context, loops: Loops, restarter: Restarter, changes: RunningChanges) -> None:
        self._context = context
        self._loops = loops
        self._restarter = restarter
        self._changes = changes
        self._pending = PendingAnswers[_RunningRestart](context.event_loop)

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {"restart": ControlVerb(self.ask)}

    def ask(self, request: Request, reply: Reply) -> None:
        """Restart the named loop; `reply` gets a document, or a sentence: `refused` for ever, or `unavailable` now."""
        name = request.get("loop")
        sentence = self.misuse(name) if isinstance(name, str) else "name a loop"
        if sentence:
            reply({"refused": sentence})
            return
        if sentence := self._hindrance(str(name)):
            reply({"unavailable": sentence})
            return
        now = self._context.event_loop.now
        loops = self._loops.restart_policy.restart(str(name), now)
        before = {loop.name: loop.incarnation for loop in self._loops.all if loop.name in loops}
        self._context.console.plain(str(name), "restart", f"asked for{_with(loops - {str(name)})}")
        self._pending.hold(reply, _RunningRestart(before, now))
        self._restarter.look()

    def misuse(self, name: str) -> str:
        """Return why there is nothing of that name to restart; an empty text if there is."""
        names = [loop.name for loop in self._loops.all]
        if name == AUTHORITY:
            return "the authority cannot be restarted by hand: it comes again by itself, and a reload replaces it"
        if name in names:
            return ""
        near = difflib.get_close_matches(name[:200], names, n=1, cutoff=0.5)
        hint = f", did you mean {near[0]}?" if near else f": there are {', '.join(names)}"
        return f"there is no loop {name[:60]!r}{hint}"

    def _hindrance(self, name: str) -> str:
        """Return why a loop cannot be restarted now; an empty text if it can."""
        if self._loops.is_stopping:
            return "tlsrt is stopping"
        if self._changes.is_rolling_out:
            return "a reload is being carried out: try again when it is done"
        loop = self._loops.by_name(name)
        if loop.state is LoopState.WAITING:
            others = self._loops.restart_policy.waits_for(name)
            if not others:
                return f"{name} comes back by itself as soon as what it depends on is active"
            return f"{name} waits for {', '.join(others)} and comes back by itself: restart {others[0]}"
        if loop.is_ending or any(name in asked.loops for _, asked in self._pending.items()):
            return f"{name} is being restarted already"
        return ""

    def loop_changed(self, loop: Loop) -> None:
        """Answer the requests whose loops have settled."""
        for number, asked in self._pending.items():
            loops = [one for one in self._loops.all if one.name in asked.loops]  # a reload may have removed some
            if all(self._is_settled(loop, asked) for loop in loops):
                self._pending.answer(number, self._answer(loops, asked))

    def stopping(self) -> None:
        self._pending.answer_all({"unavailable": "tlsrt is stopping"})

    def _is_settled(self, loop: Loop, asked: _RunningRestart) -> bool:
        if self._loops.restart_policy.is_pending(loop.name) or loop.state not in SETTLED:
            return False
        return loop.state is not LoopState.ACTIVE or loop.incarnation > asked.loops[loop.name]

    def _answer(self, loops: list[Loop], asked: _RunningRestart) -> dict[str, Any]:
        entries = [self._entry(loop, asked) for loop in loops]
        return {"loops": entries, "failed": any(entry["state"] != LoopState.ACTIVE for entry in entries)}

    def _entry(self, loop: Loop, asked: _RunningRestart) -> dict[str, Any]:
        is_active = loop.state is LoopState.ACTIVE and loop.process.active_at is not None
        took_ms = round((loop.process.active_at - asked.began) * 1000) if is_active and loop.process.active_at else None
        pid = loop.process.child.host_pid if loop.process.child is not None else None
        why = None if is_active else loop.last_death.in_words if loop.last_death is not None else str(None)
        return {"name": loop.name, "state": str(loop.state), "pid": pid, "took_ms": took_ms, "reason": why}


def _with(others: frozenset[str]) -> str:
    return f", and {', '.join(sorted(others))} with it" if others else ""
