"""The verb `events` of the control socket: the kept events, and for followers those that come.

A follower has no queue but a cursor in the ring and what its socket did not take yet: it is given more when there is
room. So it costs nothing while it sleeps, and is told how many events were overwritten in the meantime.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.errors import PeerError
from tlsrt.supervisor.control.stream import Follower, encode
from tlsrt.supervisor.events.bus import EventBus, EventCursor
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.events.event_kinds import EventKind
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.supervision.feature import Feature, Request, StreamVerb

ROOM_BYTES = 64 * 1024  # no more is queued for a follower than this and one page
_PAGE = 64


def wish_untrusted(request: Request) -> tuple[int, bool, frozenset[EventKind]]:
    """Return (number to go on after, whether to follow, kinds); raise PeerError for others."""
    since, follow, kinds = request.get("since", 0), request.get("follow", False), request.get("kinds", [])
    if type(since) is not int or since < 0 or type(follow) is not bool or not isinstance(kinds, list):
        raise PeerError("bad_request")
    try:
        return since, follow, frozenset(EventKind(kind) for kind in kinds)
    except ValueError as error:
        raise PeerError("unknown_kind") from error


class EventFeed(Feature):
    """Serves readers of events over the control socket."""

    def __init__(self, event_loop: EventLoop, bus: EventBus) -> None:
        self._event_loop = event_loop
        self._bus = bus
        self._cursors: dict[Follower, EventCursor] = {}
        self._is_due = False
        bus.listeners.append(self._note)

    def verbs(self) -> Mapping[str, StreamVerb]:
        return {"events": StreamVerb(self.serve)}

    def stopped(self, exit_code: int) -> None:
        """Give out the last event, before the control socket closes."""
        self.flush()

    def serve(self, request: Request, follower: Follower) -> None:
        """Begin to answer one request."""
        try:
            since, follow, kinds = wish_untrusted(request)
        except PeerError as error:
            follower.send(encode({"error": error.reason}))
            follower.end()
            return
        is_ours = 0 < since <= self._bus.last  # else of a life before: its reader has seen nothing of this one
        cursor = EventCursor(self._bus, since if is_ours else self._bus.first - 1, kinds)
        if follow:
            self._cursors[follower] = cursor
            follower.when_closed(lambda: self._forget(follower))
        follower.fill_with(lambda: self._give(follower, cursor, is_last=not follow))

    def flush(self) -> None:
        """Give everybody what there is now."""
        self._is_due = False
        for follower, cursor in tuple(self._cursors.items()):
            self._give(follower, cursor, is_last=False)

    def _forget(self, follower: Follower) -> None:
        self._cursors.pop(follower, None)

    def _note(self, event: HostEvent) -> None:
        """However many events come in one round of the event loop, they are given out once."""
        if self._cursors and not self._is_due:
            self._is_due = True
            self._event_loop.call_later(0, self.flush)

    def _give(self, follower: Follower, cursor: EventCursor, *, is_last: bool) -> None:
        while follower.waiting < ROOM_BYTES and not cursor.is_at_end:
            if lost := cursor.lost():
                follower.send(encode({"dropped": lost}))
            for event in cursor.take(_PAGE):
                follower.send(event.line)
        if is_last and cursor.is_at_end:
            follower.end()
