"""The TLS listener of telephones, with bounds for those who have not proven who they are. asyncio."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter, OrderedDict
from collections.abc import Callable

HANDSHAKE_S = 5.0
HANDSHAKES = 32  # at once; of one address a quarter
WRONG, WRONG_S, KNOWN = 9, 60.0, 1024  # wrong passwords of an address, for how long, and of how many addresses
_FULL_S = 0.05


class TelephoneDoor:
    """Accepts connections, as many as there is room for."""

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, make: Callable[[], asyncio.Protocol], most: int,
        log: logging.Logger,
    ) -> None:  # fmt: skip
        self.turned_away = 0  # connections for which there was no room, or that have guessed too often
        self.no_tls = 0
        self._listener = listener
        self._context = context
        self._make = make
        self._most = most
        self._log = log
        self._open: Counter[str] = Counter()
        self._shaking: Counter[str] = Counter()
        self._guesses: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Accept, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(self._listener)
            except OSError as error:  # no more descriptors, or a peer that has gone meanwhile
                self._log.warning("cannot take a connection: %s", error.strerror)
                await asyncio.sleep(_FULL_S)
                continue
            peer = str(address[0])
            if not self._has_room(peer, loop.time()):
                self.turned_away += 1
                accepted.close()
                continue
            accepted.setblocking(False)
            self._shaking[peer] += 1
            task = loop.create_task(self._shake_hands(accepted, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, accepted: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._make, accepted, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S, ssl_shutdown_timeout=1.0
            )
        except (TimeoutError, OSError):  # ssl.SSLError is an OSError
            self.no_tls += 1
            accepted.close()
        finally:
            self._shaking[peer] -= 1
            self._shaking += Counter()  # leaves out what is zero

    def _has_room(self, peer: str, now_s: float) -> bool:
        wrong, until_s = self._guesses.get(peer, (0, 0.0))
        if wrong >= WRONG and now_s < until_s:
            return False
        return (
            self._open.total() + self._shaking.total() < self._most
            and self._open[peer] + self._shaking[peer] < max(1, self._most // 4)
            and self._shaking.total() < HANDSHAKES
            and self._shaking[peer] < HANDSHAKES // 4
        )

    def opened(self, peer: str) -> None:
        """Count a connection."""
        self._open[peer] += 1

    def closed(self, peer: str) -> None:
        """Count it no more."""
        self._open[peer] -= 1
        if self._open[peer] <= 0:
            del self._open[peer]

    def guessed(self, peer: str, now_s: float) -> bool:
        """Note a wrong password; return whether the address is turned away from now on."""
        wrong, until_s = self._guesses.pop(peer, (0, 0.0))
        if now_s >= until_s:
            wrong = 0
        self._guesses[peer] = (wrong + 1, now_s + WRONG_S)
        if len(self._guesses) > KNOWN:
            self._guesses.popitem(last=False)
        return wrong + 1 == WRONG
