"""The calls that are there: who takes part in which, and whether there is room for one more."""

from __future__ import annotations

from tlsrt import Busy, NotFound
from tlsrt.loops.external.call import Call, State
from tlsrt.loops.external.call_party import Party


class CurrentCalls:
    """So many calls at most, of which another host has half."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: dict[str, Call] = {}

    def check_room(self, address: str) -> None:
        """Raise Busy for one who has a call already, and where all, or those of one host, have as many as they may."""
        if self.is_engaged(address):
            raise Busy(f"{address} has a call already")
        if len(self._calls) >= self._most:
            raise Busy(f"there are {len(self._calls)} calls, which is what the options allow")
        host = address.partition("@")[2]
        share = max(1, self._most // 2)
        if host and sum(one.by.endswith(f"@{host}") for one in self._calls.values()) >= share:
            raise Busy(f"host {host} has {share} calls here already, which is its share")

    def add(self, call: Call) -> None:
        self._calls[call.id] = call

    def remove(self, call: Call) -> None:
        del self._calls[call.id]

    def end_all(self, why: str) -> None:
        for call in [*self._calls.values()]:
            call.end(why)

    def refuse_all(self, address: str, why: str) -> None:
        """Have no call ring at one any more."""
        for call in [*self._calls.values()]:
            call.is_refused(address, why)

    def is_engaged(self, address: str) -> bool:
        """Tell whether one rings or talks."""
        return any(address == party.address for call in self._calls.values() for party in call.parties())

    def ringing_at(self, address: str, id: str) -> Call:
        """Return the call that rings for one, or raise NotFound."""
        found = self._calls.get(id)
        if found is None or not found.rings_at(address):
            raise NotFound(f"no call {id} rings for {address}")
        return found

    def of(self, address: str, id: str) -> tuple[Call, Party]:
        """Return the call in which one takes part, and as what; or raise NotFound."""
        found = self._calls.get(id)
        party = next((one for one in found.parties() if one.address == address), None) if found else None
        if found is None or party is None:
            raise NotFound(f"{address} has no call {id}")
        return found, party

    def talk_of(self, address: str, id: str) -> tuple[Call, Party]:
        """Return the same of a call that is answered, or raise NotFound."""
        found, party = self.of(address, id)
        if found.state is not State.TALKS:
            raise NotFound(f"{address} has no call {id} that is answered")
        return found, party
