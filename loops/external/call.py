"""One call: who rings, who is rung, who has answered, and how it ends. asyncio; no media and no socket."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from tlsrt.loops.external.call_leg import DIGIT, SOUND, TEXT, Pace, Piece
from tlsrt.loops.external.call_party import Party


class State(Enum):
    """Where a call is."""

    RINGS = "rings"
    TALKS = "talks"
    OVER = "over"


class Happening(Enum):
    """What happens to a call."""

    ANSWERED = "answered"
    ENDED = "ended"


NEXT = {
    (State.RINGS, Happening.ANSWERED): State.TALKS,
    (State.RINGS, Happening.ENDED): State.OVER,
    (State.TALKS, Happening.ENDED): State.OVER,
}  # what is not listed changes nothing
_PASSED = (SOUND, TEXT, DIGIT)
_WHY_NOT = ("declined", "busy", "away")  # of several who were rung: the first of these that one of them said


class Call:
    """A call. `ended` is called once, when it is over.

    `then` is who is rung when no one of `rung` takes it, empty for no one; `ring_then` is called to ring it.
    """

    def __init__(
        self, id: str, number: str, caller: Party, says: str, rung: list[str], ended: Callable[[Call], None],
        then: str = "", ring_then: Callable[[Call, str], None] = lambda call, address: None,
    ) -> None:  # fmt: skip
        self.id, self.number, self.caller, self.says, self.rung = id, number, caller, says, rung
        self.by = caller.address
        self.state = State.RINGS
        self.callee: Party | None = None
        self.why = ""
        self.missed = ""  # why no one of `rung` has taken it, once `then` is rung
        self.holds: set[str] = set()
        self._ended = ended
        self._then, self._ring_then = then, ring_then
        self._waits_for = set(rung)
        self._refusals: set[str] = set()
        self._paces: dict[str, Pace] = {}

    def rings_at(self, address: str) -> bool:
        return self.state is State.RINGS and address in self._waits_for

    def parties(self) -> list[Party]:
        return [self.caller] if self.callee is None else [self.caller, self.callee]

    def is_answered_by(self, party: Party) -> bool:
        """Let one of those that are rung answer; False if another one was first, or it is over."""
        if not self._happens(Happening.ANSWERED):
            return False
        self.callee = party
        self.caller.tell("answered", by=party.address)
        return True

    def is_refused(self, address: str, why: str) -> None:
        """One of those that are rung cannot take it: declined, busy or away. When none is left, it is over."""
        if not self.rings_at(address):
            return
        self._waits_for.discard(address)
        self._refusals.add(why)
        if not self._waits_for:
            self.give_up(next((one for one in _WHY_NOT if one in self._refusals), why))

    def give_up(self, why: str) -> None:
        """No one takes it: `then` is rung, once; without it, and if that one does not take it either, it is over."""
        if self.state is not State.RINGS:
            return
        if self.missed or not self._then:
            self.end(self.missed or why)
            return
        self.missed = why
        self._waits_for = {self._then}
        self._ring_then(self, self._then)

    def end(self, why: str) -> None:
        """End it, for all."""
        if not self._happens(Happening.ENDED):
            return
        self.why = why
        for party in self.parties():
            party.end(why)
        self._ended(self)

    def hold(self, party: Party, is_on: bool) -> None:
        """Have nothing heard either way, or heard again once none of the two holds it."""
        was = bool(self.holds)
        (self.holds.add if is_on else self.holds.discard)(party.address)
        if bool(self.holds) == was:
            return
        for other in self.parties():
            other.tell("held" if self.holds else "resumed", by=party.address)

    def said_live(self, party: Party, piece: Piece) -> None:
        """Let the other side hear what a person says now."""
        if (other := self._listener(party, piece)) is not None:
            other.hear_live(piece)

    async def said(self, party: Party, piece: Piece) -> None:
        """Let the other side hear what a component says, at the pace at which it is heard."""
        if (other := self._listener(party, piece)) is not None:
            await other.hear(piece)
        elif piece.kind == SOUND:  # by a clock: what waits here when the call is answered would be late to its end
            await self._paces.setdefault(party.address, Pace()).wait()

    def _listener(self, party: Party, piece: Piece) -> Party | None:
        """Return who hears a piece: no one before the answer, and of others than these two nothing is heard."""
        if self.state is not State.TALKS or piece.kind not in _PASSED or (self.holds and piece.kind == SOUND):
            return None
        if party is self.caller:
            return self.callee
        return self.caller if party is self.callee else None

    def _happens(self, happening: Happening) -> bool:
        following = NEXT.get((self.state, happening))
        if following is None:
            return False
        self.state = following
        return True
