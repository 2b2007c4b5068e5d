"""What only Primary may say to the authority: about connections, clients, the door and events. No descriptor here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlsrt.channels.control.seqpacket import NoFields
from tlsrt.channels.control.trust import (
    AddressMessage,
    ChallengeMessage,
    CloseMessage,
    LendMessage,
    OpenMessage,
    TriedMessage,
    TurnedAwayMessage,
)
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.incoming_events import IncomingEvents
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.sessions.manager import SessionManager

TURNED_AWAY = 20  # notes of Primary a second: it may be captured, and must not push out those of others
WORDS_MAX = 1000

Handler = Callable[[LoopEntry, Any, int, int], None]


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
        self._turned_away = Bucket(TURNED_AWAY, TURNED_AWAY)
        self.handlers: dict[str, Handler] = {
            "challenge": self._challenge,
            "open": self._open,
            "lend": self._lend,
            "tried": self._tried,
            "close": self._close,
            "came_from": self._came_from,
            "turned_away": self._turn_away,
            "took_events": self._took_events,
        }

    def _challenge(self, primary: LoopEntry, message: ChallengeMessage, now: int, wall: int) -> None:
        self._clients.challenge(message.connection, now)

    def _open(self, primary: LoopEntry, message: OpenMessage, now: int, wall: int) -> None:
        self._clients.open(message.connection, message.open, message.signature, now, wall)

    def _lend(self, primary: LoopEntry, message: LendMessage, now: int, wall: int) -> None:
        self._clients.lend(message.connection, message.certificate, now, wall)

    def _tried(self, primary: LoopEntry, message: TriedMessage, now: int, wall: int) -> None:
        self._door.tried(message.generation, bool(message.is_good), message.sentence[:WORDS_MAX])

    def _close(self, primary: LoopEntry, message: CloseMessage, now: int, wall: int) -> None:
        self._clients.close(message.session)

    def _came_from(self, primary: LoopEntry, message: AddressMessage, now: int, wall: int) -> None:
        self._manager.note_address(message.session, message.address)

    def _turn_away(self, primary: LoopEntry, message: TurnedAwayMessage, now: int, wall: int) -> None:
        if self._turned_away.take(now / 1000):
            words = f"{message.word}, {message.times} times, last from {message.address}"
            self._note(words, message.times)

    def _took_events(self, primary: LoopEntry, message: NoFields, now: int, wall: int) -> None:
        self._events.taken()
