"""Watches of people: where each can be reached, and what rings there. asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tlsrt import Busy
from tlsrt.loops.external.call import Call
from tlsrt.loops.external.call_party import Told

WATCHES_OF_ONE = 4


class CallWatches:
    """The watches that are open, by the address of who can be reached there."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Told]] = {}

    @contextmanager
    def begin(self, address: str) -> Iterator[Told]:
        """Begin a watch; raise Busy for one too many."""
        mine = self._watches.setdefault(address, set())
        if len(mine) >= WATCHES_OF_ONE:
            raise Busy(f"{address} watches at {WATCHES_OF_ONE} places already")
        told = Told()
        mine.add(told)
        try:
            yield told
        finally:
            mine.discard(told)
            if not mine:
                del self._watches[address]

    def has(self, address: str) -> bool:
        """Tell whether one can be reached."""
        return address in self._watches

    def ring(self, call: Call, address: str) -> bool:
        """Have a call ring wherever one can be reached; tell whether that is anywhere."""
        told = {"state": "rings", "call": call.id, "by": call.by, "says": call.says, "number": call.number}
        for watch in self._watches.get(address, ()):
            watch.put(told)
        return self.has(address)

    def stop_ringing(self, call: Call, why: str) -> None:
        """Say that a call need not be answered any more."""
        for address in call.rung:
            for watch in self._watches.get(address, ()):
                watch.put({"state": "over", "call": call.id, "why": why})
