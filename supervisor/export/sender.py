"""What is sent to one collector, and when: connections come and go, what waits is kept within its bound.

A collector gets what it is there for, however it behaves: who ends connections, says what is no answer or nothing at
all is tried again later, and later each time.
"""

from __future__ import annotations

import os
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tlsrt.backoff import Backoff
from tlsrt.channels.control.export import DROPPED_S, Trouble
from tlsrt.errors import PeerError
from tlsrt.supervisor.export.answer import parse_answer_untrusted, request_head
from tlsrt.supervisor.export.backlog import Backlog
from tlsrt.supervisor.export.connection import Connection, ConnectionEnded

OPEN_S = 10.0  # until a connection is there, with TLS
SILENT_S = 20.0  # without progress, or an answer
UNSURE_S = 5.0  # after bytes went to the kernel: so late a connection that ends tells that they may be lost
UNSURE_MOST = 4  # chunks
RESENT_MOST = 2  # times
GATHER_S = 0.5  # for more to come, before a request is made
_CHUNK = 64 * 1024  # of syslog messages
_REQUEST_BYTES, _REQUEST_RECORDS = 512 * 1024, 1024
_REQUEST_LEAST = 16 * 1024  # for a collector, or a way to it, for which more was too much
_FIRST_S, _CAP_S = 0.25, 60.0


class Report(Protocol):
    """Who is told of a collector, by its number."""

    def connect(self, number: int, *, has_failed: bool) -> None:
        """Ask for a socket to it: `connected` or `unreachable` answers. Another one, if the last `has_failed`."""

    def trouble(self, number: int, trouble: Trouble, detail: str) -> None:
        """Say that it takes nothing any more, or takes it again."""

    def dropped(self, number: int, count: int) -> None:
        """Say how many were left out for it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A collector as it is known here."""

    number: int
    place: str
    path: str
    name: str
    context: ssl.SSLContext | None


class Sender:
    """The common part: when to connect, and what becomes of a connection that ends."""

    def __init__(
        self, target: Target, report: Report, opened: Callable[[int, Target], Connection], clock: Callable[[], float],
        backlog: Backlog | None = None,
    ) -> None:  # fmt: skip
        self.target = target
        self.backlog = backlog if backlog is not None else Backlog()  # an empty one is false
        self.connection: Connection | None = None
        self._report = report
        self._opened = opened
        self._clock = clock
        self._backoff = Backoff(_FIRST_S, _CAP_S)
        self._is_asked = self._has_failed = False
        self._next_at = 0.0  # not before
        self._until: float | None = None  # something has to happen
        self._trouble = self._told = Trouble.NONE
        self._is_untold = False  # what was told is of the one before it
        self._detail = ""
        self._told_at = -DROPPED_S
        self._taken: list[bytes] = []  # out of the backlog, and not surely sent
        self._said_at = -DROPPED_S
        self._last = -1  # a socket that is not used before the end

    def follow(self, told: Trouble) -> None:
        """Take the place of one of which this was told last: its end is told as if it were ours."""
        self._trouble = self._told = told
        self._is_untold = True

    # What a kind of it says

    def _begin(self, connection: Connection) -> None:
        """Send what there is: the connection is open, and all before it is with the kernel."""
        raise NotImplementedError

    def _heard_untrusted(self, connection: Connection, data: bytes) -> None:
        """Take what the collector says."""

    # When

    def put(self, item: bytes, *, is_grave: bool) -> None:
        """Keep an item until it is sent."""
        if not self.backlog and not self._taken and self.connection is None:
            self._next_at = max(self._next_at, self._clock() + GATHER_S)
        self.backlog.put(item, is_grave=is_grave)

    @property
    def is_idle(self) -> bool:
        return not self.backlog and not self._taken

    def next_at(self) -> float | None:
        """Return when `look` has something to do; None for never."""
        if self.connection is not None:
            due = self._until
        else:
            due = self._next_at if self.backlog and not self._is_asked else None
        if self._trouble is self._told:
            return due
        telling = self._told_at + DROPPED_S
        return telling if due is None else min(due, telling)

    def look(self) -> None:
        """Do what is due."""
        now = self._clock()
        if self.connection is not None:
            if self._until is not None and now >= self._until:
                self._late()
        elif self.backlog and not self._is_asked and now >= self._next_at:
            self._is_asked = True
            self._report.connect(self.target.number, has_failed=self._has_failed)
        if self._trouble is not self._told and now >= self._told_at + DROPPED_S:
            self._told, self._told_at = self._trouble, now
            self._report.trouble(self.target.number, self._trouble, self._detail)
        if now >= self._said_at + DROPPED_S and (dropped := self.backlog.take_dropped()):
            self._said_at = now
            self._report.dropped(self.target.number, dropped)

    def _late(self) -> None:
        self._fail(Trouble.SILENT, "it does not answer, or does not read")

    # A connection

    def connected(self, descriptor: int) -> None:
        """Use a socket that is connected, or being so."""
        self._is_asked = False
        self._close()
        try:
            self.connection = self._opened(descriptor, self.target)
        except ValueError:
            self._fail(Trouble.TLS, "its name is none that TLS can ask for")
            return
        self._until = self._clock() + OPEN_S
        self.ready()

    def keep_last(self, descriptor: int) -> None:
        """Keep a socket for the end."""
        self._last = descriptor

    def finish(self) -> None:
        """Send what waits now: no other connection comes."""
        self._is_asked = True
        if self.connection is None and self._last >= 0 and self.backlog:
            last, self._last = self._last, -1
            self.connected(last)
            self._is_asked = True

    def unreachable(self) -> None:
        self._is_asked = False
        self._fail(Trouble.UNREACHABLE, "there is no way to it")

    def ready(self) -> None:
        """Go on with the connection."""
        connection = self.connection
        if connection is None:
            return
        try:
            was_open = connection.is_open
            data = connection.advance_untrusted()
            if data:
                self._heard_untrusted(connection, data)
            if was_open and self.connection is connection and not connection.is_open:
                raise ConnectionEnded(Trouble.CLOSED, "it has ended the connection")  # with its last words
            if self.connection is connection and connection.is_open:
                if not was_open:
                    self._until = None
                if connection.is_drained:
                    self._begin(connection)
        except ConnectionEnded as error:
            self._fail(error.trouble, error.detail)

    def _fail(self, trouble: Trouble, detail: str, retry_after_s: float = 0.0) -> None:
        self._close()
        self._put_back()
        self._has_failed = True
        self._next_at = self._clock() + self._backoff.pause(max(retry_after_s, _FIRST_S))
        if self._is_untold:
            self._is_untold, self._told = False, Trouble.NONE
            self._detail = detail
        if trouble is not self._trouble:
            self._trouble, self._detail = trouble, detail

    def _put_back(self) -> None:
        self.backlog.put_back(self._taken)
        self._taken = []

    def leave(self) -> None:
        """Let go of the collector: what waits is in the backlog again, for another one."""
        self._close()
        self._put_back()
        if self._last >= 0:
            os.close(self._last)
            self._last = -1

    def _good(self) -> None:
        self._has_failed = False
        self._backoff.reset()
        self._trouble, self._detail = Trouble.NONE, ""

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        self._until = None


class SyslogSender(Sender):
    """Messages on one connection that stays. A collector of syslog acknowledges nothing.

    What it was sent last is said again, twice at most, if it ends the connection soon after: it may get that twice.
    """

    def __init__(
        self, target: Target, report: Report, opened: Callable[[int, Target], Connection], clock: Callable[[], float],
        backlog: Backlog | None = None,
    ) -> None:  # fmt: skip
        super().__init__(target, report, opened, clock, backlog)
        self._sent: deque[tuple[float, list[bytes]]] = deque()  # chunks that the kernel has, and when they are sure
        self._resent = 0

    def put(self, item: bytes, *, is_grave: bool) -> None:
        super().put(item, is_grave=is_grave)
        if self.connection is not None and self.connection.is_open:
            if self.connection.is_drained:
                self.ready()
            elif self._until is None:  # it does not read what TLS itself has to say
                self._until = self._clock() + SILENT_S

    def _begin(self, connection: Connection) -> None:
        now = self._clock()
        self._written(now)
        while self._sent and (self._sent[0][0] <= now or len(self._sent) > UNSURE_MOST):
            if self._sent.popleft()[0] <= now:
                self._resent = 0
                self._good()
        if self.backlog:
            self._taken = self.backlog.take(_CHUNK, _REQUEST_RECORDS)
            connection.write(b"".join(self._taken))
            if connection.is_drained:
                self._written(now)
        if self._taken:
            self._until = now + SILENT_S
        else:
            self._until = self._sent[0][0] if self._sent else None

    def _written(self, now: float) -> None:
        if self._taken:
            self._sent.append((now + UNSURE_S, self._taken))
            self._taken = []

    def _late(self) -> None:
        connection = self.connection
        if self._taken or connection is None or not connection.is_open or not connection.is_drained:
            super()._late()
        else:
            self.ready()

    def _fail(self, trouble: Trouble, detail: str, retry_after_s: float = 0.0) -> None:
        unsure = [item for _, items in self._sent for item in items]
        self._sent.clear()
        if unsure and self._resent >= RESENT_MOST:
            self.backlog.drop(len(unsure))
            self._resent, unsure = 0, []
        elif unsure:
            self._resent += 1
        self._taken = [*unsure, *self._taken]
        super()._fail(trouble, detail, retry_after_s)

    def leave(self) -> None:
        self._taken = [*(item for _, items in self._sent for item in items), *self._taken]
        self._sent.clear()
        super().leave()


class HttpSender(Sender):
    """A request for each bundle of records, each on a connection of its own."""

    def __init__(
        self, target: Target, report: Report, opened: Callable[[int, Target], Connection], clock: Callable[[], float],
        join: Callable[[Sequence[bytes]], bytes], version: str, backlog: Backlog | None = None,
    ) -> None:  # fmt: skip
        super().__init__(target, report, opened, clock, backlog)
        self._join = join
        self._version = version
        self._heard = b""
        self._most = _REQUEST_BYTES

    def _begin(self, connection: Connection) -> None:
        if self._taken:
            return
        if not self.backlog:
            self._close()
            return
        self._taken = self.backlog.take(self._most, _REQUEST_RECORDS)
        self._heard = b""
        self._until = self._clock() + SILENT_S
        body = self._join(self._taken)
        host = self.target.place
        connection.write(request_head(self.target.path, host, len(body), self._version) + body)

    def _heard_untrusted(self, connection: Connection, data: bytes) -> None:
        self._heard += data
        try:
            answer = parse_answer_untrusted(self._heard)
        except PeerError:
            self._fail(Trouble.REFUSED, "it says what is no answer")
            return
        if answer is None:
            return
        if not self._taken or answer.is_worth_another_try:
            self._fail(Trouble.REFUSED, f"it answers {answer.status}", answer.retry_after_s)
        elif answer.is_good:
            self._taken = []
            self._most = min(self._most + _REQUEST_LEAST, _REQUEST_BYTES)
            self._close()
            self._good()
            self._next_at = self._clock() + (0.0 if len(self.backlog) >= _REQUEST_RECORDS else GATHER_S)
        else:  # it will never take these
            self.backlog.drop(len(self._taken))
            self._taken = []
            self._fail(Trouble.REFUSED, f"it answers {answer.status}")

    def _fail(self, trouble: Trouble, detail: str, retry_after_s: float = 0.0) -> None:
        if self._taken and trouble in (Trouble.SILENT, Trouble.CLOSED):
            self._most = max(self._most // 2, _REQUEST_LEAST)
        super()._fail(trouble, detail, retry_after_s)
