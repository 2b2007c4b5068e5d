"""Ringing: whom a call rings, what becomes of each, and who is rung when no one takes it. asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

from tlsrt import Busy, CallError, Component
from tlsrt.loops.external.call import Call, State
from tlsrt.loops.external.call_hosts import CallHosts
from tlsrt.loops.external.call_leg import HELD, RESUMED, Piece, ring_component
from tlsrt.loops.external.call_options import rung_component
from tlsrt.loops.external.call_party import ComponentParty, HostParty, Party
from tlsrt.loops.external.call_tasks import CallTasks
from tlsrt.loops.external.call_watches import CallWatches
from tlsrt.loops.external.current_calls import CurrentCalls

THEN_S = 15.0  # in which who is rung last has to answer


class CallRinging:
    """Rings all of a call at once. `answered` is told of the call that a component has answered."""

    def __init__(
        self, component: Component, calls: CurrentCalls, watches: CallWatches, hosts: CallHosts, tasks: CallTasks,
        answered: Callable[[Call], None],
    ) -> None:  # fmt: skip
        self._component = component
        self._calls, self._watches, self._hosts, self._tasks = calls, watches, hosts, tasks
        self._has_answered = answered

    def begin(self, call: Call, for_s: float) -> None:
        """Ring, for so many seconds."""
        self._tasks.run_in(call.id, self._give_up(call, for_s))
        if not call.rung:
            call.give_up("away")
            return
        for address in call.rung:
            if not address.startswith("client/"):
                self._tasks.run_in(call.id, self._ring_component(call, address))
            elif self._calls.is_engaged(address):
                call.is_refused(address, "busy")
            elif not self._watches.ring(call, address):
                call.is_refused(address, "away")

    def ring_then(self, call: Call, address: str) -> None:
        """Ring who takes what no one has taken, and no one else any more."""
        self._watches.stop_ringing(call, call.missed)
        self._tasks.end_others(call.id)
        self._tasks.run_in(call.id, self._give_up(call, THEN_S), self._ring_component(call, address))

    async def _give_up(self, call: Call, for_s: float) -> None:
        await asyncio.sleep(for_s)
        call.give_up("not answered")

    async def _ring_component(self, call: Call, address: str) -> None:
        target, number = (address, "") if "@" in address else rung_component(address, call.number)
        party = HostParty(target) if "@" in address else ComponentParty(target)
        pump = self._tasks.run(party.pump()) if isinstance(call.caller, ComponentParty) else None
        why = "declined"
        rung = self._component
        ringing = (
            self._hosts.ring(address, party.heard, by=call.by, says=call.says)
            if isinstance(party, HostParty)
            else ring_component(rung, target, party.heard, id=call.id, by=call.by, says=call.says, number=number)
        )
        try:
            async with aclosing(ringing) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if call.callee is not party:
                        if not call.is_answered_by(party):
                            return
                        self._has_answered(call)
                        self._tasks.let_end(call.id)
                    await pass_piece(call, party, piece)
                    if call.state is State.OVER:
                        return
        except Busy:
            why = "busy"
        except CallError as error:
            why = "away"
            self._component.log.warning("call %s: %s: %s", call.id, address, error.message)
        finally:
            if pump is not None:
                pump.cancel()
            if call.callee is party:
                call.end("hung up" if why == "declined" else why)
            else:
                call.is_refused(address, why)


async def pass_piece(call: Call, party: Party, piece: Piece) -> None:
    """Let the other side hear a piece: of a component at the pace at which it is heard, of a host now."""
    if not isinstance(party, HostParty):
        await call.said(party, piece)
        return
    party.check(time.monotonic())
    if piece.kind not in (HELD, RESUMED):
        call.said_live(party, piece)
    elif call.state is State.TALKS:
        call.hold(party, piece.kind == HELD)
