"""The server of http-01: on the one socket that the supervisor hands over, while a job runs."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress

from tlsrt.supervisor.acme.http_challenge import REQUEST_MAX, is_whole, response_untrusted

_CONNECTIONS_MAX = 32  # a CA looks from five places; with more, the oldest goes
_TIMEOUT_S = 5.0


class ChallengeServer:
    """Answers with the key authorization of one token at a time."""

    def __init__(self, listener: socket.socket, waiting: select.poll, clock: Callable[[], float]) -> None:
        self._listener = listener
        self._waiting = waiting
        self._clock = clock
        self._connections: dict[int, tuple[socket.socket, bytearray, float]] = {}
        self._shown = ("", "")
        listener.setblocking(False)
        waiting.register(listener.fileno(), select.POLLIN)

    def show(self, token: str, authorization: str) -> None:
        """Answer with this from now on."""
        self._shown = (token, authorization)

    def serve(self, ready: list[tuple[int, int]]) -> None:
        """Go on with whatever is ready, and drop who is too slow."""
        for descriptor, _ in ready:
            if descriptor == self._listener.fileno():
                self._accept()
            elif descriptor in self._connections:
                self._go_on(descriptor)
        for descriptor, (_, _, until) in [*self._connections.items()]:
            if until <= self._clock():
                self._drop(descriptor)

    def _accept(self) -> None:
        with suppress(OSError):
            accepted, _ = self._listener.accept()
            accepted.setblocking(False)
            if len(self._connections) >= _CONNECTIONS_MAX:
                self._drop(next(iter(self._connections)))
            self._connections[accepted.fileno()] = (accepted, bytearray(), self._clock() + _TIMEOUT_S)
            self._waiting.register(accepted.fileno(), select.POLLIN)

    def _go_on(self, descriptor: int) -> None:
        connection, held, _ = self._connections[descriptor]
        try:
            data = connection.recv(REQUEST_MAX - len(held))
            held += data
            if data and not is_whole(held) and len(held) < REQUEST_MAX:
                return
            if data:
                connection.send(response_untrusted(bytes(held), *self._shown))
        except BlockingIOError:
            return
        except OSError:
            pass
        self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        connection, _, _ = self._connections.pop(descriptor)
        self._waiting.unregister(descriptor)
        connection.close()
