"""Connections of the metrics process: few at a time, each for one request, and none for long.

Connections are anonymous. So one that comes when all places are taken gets the place of one that has not asked yet,
or else of one that does not read its answer; the oldest first. One that has asked keeps its place until figures are
there, and while all places are such ones no other connection is accepted.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tlsrt.errors import PeerError
from tlsrt.supervisor.metrics.request import HEAD_MAX, STATUS, Request, answer_head, head_end, parse_head_untrusted

PLACES = 64
ACCEPTED_AT_ONCE = 16
HEAD_S = 5.0  # for a request to be there
WHOLE_S = 10.0  # for all of a connection
LINGER_S = 1.0  # for the other side to take an answer and close


@dataclass(slots=True)
class Connection:
    """One connection: first its head is read, then an answer is sent, then its end is waited for."""

    socket: socket.socket
    until: float
    ends_at: float  # whatever happens
    heard: bytearray = field(default_factory=bytearray)
    request: Request | None = None
    left: list[memoryview] | None = None  # of the answer: its head, and the body, which all readers share
    is_over: bool = False  # all of the answer is with the kernel

    @property
    def is_open(self) -> bool:
        return self.socket.fileno() >= 0

    @property
    def is_waiting(self) -> bool:
        """Tell whether it has asked, and there is no answer yet."""
        return self.request is not None and self.left is None and not self.is_over


class Connections:
    """All of them, on one epoll; `on_request` is called for each request, and answers by `send`."""

    def __init__(
        self, epoll: select.epoll, listener: socket.socket, on_request: Callable[[Connection], None],
        clock: Callable[[], float], *, is_tcp: bool,
    ) -> None:  # fmt: skip
        self._epoll = epoll
        self._clock = clock
        self._is_paused = False  # no connection is accepted
        self._listener = listener
        self._on_request = on_request
        self._is_tcp = is_tcp
        self._open: dict[int, Connection] = {}  # oldest first
        self.dropped = 0
        epoll.register(listener.fileno(), select.EPOLLIN)

    def owns(self, descriptor: int) -> bool:
        """Tell whether an event is for this object."""
        return descriptor == self._listener.fileno() or descriptor in self._open

    def ready(self, descriptor: int, events: int) -> None:
        """Go on with what can go on."""
        if descriptor == self._listener.fileno():
            self._accept()
        elif descriptor in self._open:
            connection = self._open[descriptor]
            if events & select.EPOLLHUP and connection.is_waiting:  # gone; epoll reports it until the descriptor is
                self._close(connection, is_dropped=True)
            else:
                self._go_on(connection)

    def next_end(self) -> float | None:
        """Return when the next connection has had its time."""
        return min((min(one.until, one.ends_at) for one in self._open.values()), default=None)

    def end_late(self) -> None:
        """Cut those that have had their time."""
        now = self._clock()
        for connection in [one for one in self._open.values() if min(one.until, one.ends_at) <= now]:
            self._close(connection, is_dropped=not connection.is_over)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            displaced = self._displaced() if len(self._open) >= PLACES else None
            if len(self._open) >= PLACES and displaced is None:
                self._pause(True)
                return
            try:
                accepted, _ = self._listener.accept()
            except OSError:  # none waits, or it has gone again
                return
            if displaced is not None:
                self._close(displaced, is_dropped=True)
            accepted.setblocking(False)
            now = self._clock()
            connection = Connection(accepted, now + HEAD_S, now + WHOLE_S)
            self._open[accepted.fileno()] = connection
            self._epoll.register(accepted.fileno(), select.EPOLLIN)
            self._go_on(connection)

    def _displaced(self) -> Connection | None:
        """Return whose place the next one gets."""
        has_not_asked = (one for one in self._open.values() if one.request is None)
        has_answer = (one for one in self._open.values() if one.left is not None or one.is_over)
        return next(has_not_asked, None) or next(has_answer, None)

    def _pause(self, is_paused: bool) -> None:
        if self._is_paused != is_paused:
            self._is_paused = is_paused
            self._epoll.modify(self._listener.fileno(), 0 if is_paused else select.EPOLLIN)

    def _go_on(self, connection: Connection) -> None:
        try:
            if connection.left is not None:
                self._send(connection)
            elif connection.is_over:
                self._drain(connection)
            elif connection.request is None:
                self._read_untrusted(connection)
            elif not connection.socket.recv(HEAD_MAX):  # it says no more, and waits for its answer
                self._epoll.modify(connection.socket.fileno(), 0)
        except BlockingIOError:
            return
        except (OSError, PeerError):
            self._close(connection, is_dropped=True)

    def _read_untrusted(self, connection: Connection) -> None:
        piece = connection.socket.recv(HEAD_MAX - len(connection.heard))
        if not piece:
            raise PeerError("closed")
        connection.heard += piece
        try:
            end = head_end(connection.heard)
            if end < 0:
                return
            connection.request = parse_head_untrusted(bytes(connection.heard[:end]), is_tcp=self._is_tcp)
        except PeerError as error:
            connection.request = Request("")
            self.send(connection, STATUS[error.reason], f"{error.reason}\n")
            return
        connection.until = connection.ends_at
        self._on_request(connection)

    def send(
        self, connection: Connection, status: str, body: str | bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:  # fmt: skip
        """Answer a request; the rest of a long answer leaves as its reader takes it."""
        data = body.encode() if isinstance(body, str) else body
        is_head = connection.request is not None and connection.request.is_head
        connection.left = [memoryview(answer_head(status, kind, len(data)))]
        if not is_head:
            connection.left.append(memoryview(data))
        self._pause(False)
        self._go_on(connection)

    def _send(self, connection: Connection) -> None:
        assert connection.left is not None
        while connection.left:
            try:
                sent = connection.socket.send(connection.left[0], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._epoll.modify(connection.socket.fileno(), select.EPOLLOUT)
                raise
            connection.left[0] = connection.left[0][sent:]
            if not connection.left[0]:
                del connection.left[0]
        connection.left, connection.is_over = None, True
        connection.socket.shutdown(socket.SHUT_WR)
        self._epoll.modify(connection.socket.fileno(), select.EPOLLIN)
        connection.until = self._clock() + LINGER_S
        self._drain(connection)

    def _drain(self, connection: Connection) -> None:
        """Wait until the reader closes: unread bytes of it would have the kernel cut the answer off."""
        if not connection.socket.recv(HEAD_MAX):
            self._close(connection)

    def _close(self, connection: Connection, *, is_dropped: bool = False) -> None:
        if self._open.pop(connection.socket.fileno(), None) is None:
            return
        self.dropped += is_dropped and not connection.is_over
        with suppress(OSError):
            self._epoll.unregister(connection.socket.fileno())
        connection.socket.close()
        self._pause(False)
