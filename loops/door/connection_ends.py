"""How connections end: counted, told to the observer, and as an offence if they break a rule."""

from __future__ import annotations

from collections import Counter

from tlsrt.budget import Budget
from tlsrt.loops.door.addresses import address_key
from tlsrt.loops.door.service import ServerObserver

_ORDERLY = frozenset(
    {"closed", "enrolled", "closed_by_peer", "cut", "reset", "idle", "draining", "ended"}
)  # no one's fault
# Offences of all behind an address together: known clients there would be blocked for those of others.
_CROWDING = frozenset({"hello_timeout", "handshake_timeout", "too_fast_from_address", "too_many_from_address"})


class ConnectionEnds:
    """The reasons, and whose fault each is."""

    def __init__(self, observer: ServerObserver | None) -> None:
        self.counters: Counter[str] = Counter()
        self._observer = observer

    def note(self, address: str, reason: str) -> None:
        """Count an end that is no offence."""
        self.counters[reason] += 1
        if self._observer is not None and not _is_orderly(reason):
            self._observer.on_refused(address, reason)

    def note_offence(self, address: str, connection: int, reason: str, *, has_clients: bool) -> None:
        """Count an end, which may be an offence: of a connection that has authenticated, or (0) of its address.

        An address that clients have come from is not blamed for too many connections: they may be of others there.
        """
        self.note(address, reason)
        if self._observer is None or _is_orderly(reason):
            return
        if reason not in _CROWDING or connection or not has_clients:
            self._observer.on_offence(address_key(address), connection, reason)

    def note_over_places(self, client: str) -> None:
        """Count a client that has lost a connection for another of its own."""
        self.counters[Budget.PLACES] += 1
        if self._observer is not None:
            self._observer.on_over_places(client)


def _is_orderly(reason: str) -> bool:
    return reason in _ORDERLY or reason.startswith("closed_")
