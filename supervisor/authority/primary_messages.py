"""What only Primary may say to the authority: about connections, clients, the door and events. No descriptor here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlsrt.errors import PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.incoming_events import IncomingEvents
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.sessions.manager import SessionManager

TURNED_AWAY = 20  # notes of Primary a second: it may be captured, and must not push out those of others
WORDS_MAX = 1000

Handler = Callable[[LoopEntry, list[Any], int, int], None]
FromGate = Callable[[list[Any], int, int], None]


def of_gate(handler: FromGate) -> Handler:
    """Return a handler that takes a message from Primary, and raises PeerError for anybody else's."""

    def heard(member: LoopEntry, fields: list[Any], now: int, wall: int) -> None:
        if member.loop != GATE:
            raise PeerError("not_primary")
        handler(fields, now, wall)

    return heard


class PrimaryMessages:
    """The handlers. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(
        self,
        manager: SessionManager,
        clients: ClientSessions,
        door: DoorChange,
        events: IncomingEvents,
        note_turned_away: Callable[[str, int], None],
    ) -> None:
        self._manager = manager
        self._clients = clients
        self._door = door
        self._events = events
        self._note = note_turned_away
        self._turned_away = Bucket(TURNED_AWAY, TURNED_AWAY, 0.0)
        handlers: dict[str, FromGate] = {
            "challenge": self._challenge,
            "open": self._open,
            "lend": self._lend,
            "tried": self._tried,
            "close": self._close,
            "came_from": self._came_from,
            "turned_away": self._turn_away,
            "took_events": self._took_events,
        }
        self.handlers: dict[str, Handler] = {name: of_gate(handler) for name, handler in handlers.items()}

    def _challenge(self, fields: list[Any], now: int, wall: int) -> None:
        self._clients.challenge(fields[0], now)

    def _open(self, fields: list[Any], now: int, wall: int) -> None:
        connection, data, signature = fields
        self._clients.open(connection, data, signature, now, wall)

    def _lend(self, fields: list[Any], now: int, wall: int) -> None:
        connection, certificate = fields
        self._clients.lend(connection, certificate, now, wall)

    def _tried(self, fields: list[Any], now: int, wall: int) -> None:
        generation, is_good, words = fields
        self._door.tried(generation, bool(is_good), words[:WORDS_MAX])

    def _close(self, fields: list[Any], now: int, wall: int) -> None:
        self._clients.close(fields[0])

    def _came_from(self, fields: list[Any], now: int, wall: int) -> None:
        self._manager.note_address(*fields)

    def _turn_away(self, fields: list[Any], now: int, wall: int) -> None:
        address, word, count = fields
        if self._turned_away.take(now / 1000):
            self._note(f"{word}, {count} times, last from {address}", count)

    def _took_events(self, fields: list[Any], now: int, wall: int) -> None:
        self._events.taken()
