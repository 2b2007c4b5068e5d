"""Watches of mailboxes: who waits for what comes next, so many of one mailbox and so many in all. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tlsrt import Busy

_WATCHES, _WATCHES_OF_ONE = 128, 16


class MailboxWatches:
    """The watches that are open."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}  # mailbox: who waits for it

    @contextmanager
    def begin(self, mailbox: str) -> Iterator[asyncio.Event]:
        """Begin a watch, whose event is set by each `wake`; raise Busy for one too many."""
        events = self._events.get(mailbox, set())
        if len(events) >= _WATCHES_OF_ONE or sum(map(len, self._events.values())) >= _WATCHES:
            raise Busy(f"{len(events)} watches of {mailbox} are open: end one of them")
        event = asyncio.Event()
        events.add(event)
        self._events[mailbox] = events
        try:
            yield event
        finally:
            events.discard(event)
            if not events:
                self._events.pop(mailbox, None)

    def wake(self, mailboxes: Iterable[str]) -> None:
        """Have the watches of these mailboxes look."""
        for mailbox in mailboxes:
            for event in self._events.get(mailbox, ()):
                event.set()
