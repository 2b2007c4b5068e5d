"""The TLS server that webhooks post to: one request a connection, bounded by address, in number and in time. asyncio.

Nothing of a stranger is kept beyond one connection and the tokens of his address. Who holds most connections, or most
bytes of bodies, loses the oldest of them when there is no room; so who floods displaces himself. Senders have no
certificate: a signature in the request tells who they are, which `take` checks.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from tlsrt import BoundedTable, WhenFull
from tlsrt.loops.external.address_rates import AddressRates, subject_of
from tlsrt.loops.external.body_room import BodyRoom
from tlsrt.loops.external.hook_request import BadRequestError, HookRequest, HookRequestReader, response

_CONNECTIONS, _OF_ADDRESS = 64, 16
BODIES = 8 << 20  # bytes of all bodies that have come and are not answered
_READ = 16 * 1024
_SHUTDOWN_S = 2.0
_NO_ACCEPT_S = 0.2  # until it is tried again, when descriptors are short


@dataclass(frozen=True)
class HookAnswer:
    """A status, and when to try again, seconds; 0 says nothing of that."""

    status: int
    retry_after_s: int = 0


class HookServer:
    """Takes connections of a listener, and gives each request to `take`."""

    def __init__(
        self, context: ssl.SSLContext, take: Callable[[HookRequest], Awaitable[HookAnswer]], rates: AddressRates,
        body_bytes: int, within_s: float, count: Callable[[str], None], log: logging.Logger,
    ) -> None:  # fmt: skip
        self._context, self._take, self._rates = context, take, rates
        self._body_bytes, self._within_s = body_bytes, within_s
        self._count, self._log = count, log
        self._open: BoundedTable[asyncio.Task[None], None] = BoundedTable(_CONNECTIONS, _OF_ADDRESS, WhenFull.EVICT)
        self._bodies = BodyRoom(BODIES)

    async def serve(self, listener: socket.socket) -> None:
        """Accept for ever; what is open ends with it."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    sock, peer = await loop.sock_accept(listener)
                except OSError as error:
                    self._log.warning("cannot accept a connection: %s", error.strerror)
                    await asyncio.sleep(_NO_ACCEPT_S)
                    continue
                subject = subject_of(peer[0])
                if not self._rates.take(subject, time.monotonic()):
                    self._count("connections_refused")
                    sock.close()
                    continue
                self._begin(loop.create_task(self._connection(sock, subject)), sock, subject)
        finally:
            listener.close()
            for row in self._open:
                row.key.cancel()

    def _begin(self, task: asyncio.Task[None], sock: socket.socket, subject: str) -> None:
        """Keep a connection until it ends; for one more than there is room for, the greediest address loses one."""
        added = self._open.add(task, None, subject)
        for row in added.removed:
            self._count("connections_displaced")
            row.key.cancel()
        if not added.is_added:
            task.cancel()

        def ended(done: asyncio.Task[None]) -> None:
            self._open.remove(done)
            self._bodies.let_go(done)
            sock.close()  # also of one that was cancelled before it began
            if not done.cancelled() and (error := done.exception()) is not None:
                self._log.error("a connection failed", exc_info=error)

        task.add_done_callback(ended)

    async def _connection(self, sock: socket.socket, subject: str) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_READ)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(self._within_s):
                transport, _ = await loop.connect_accepted_socket(
                    lambda: protocol, sock, ssl=self._context, ssl_handshake_timeout=self._within_s,
                    ssl_shutdown_timeout=_SHUTDOWN_S,
                )  # fmt: skip
                writer = asyncio.StreamWriter(transport, protocol, reader, loop)
                answer = await self._answer(reader, writer, subject)
                writer.write(response(answer.status, answer.retry_after_s))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except TimeoutError:
            self._count("connections_slow")
        except OSError:  # and ssl.SSLError, ConnectionError: no TLS, or an end
            self._count("connections_broken")
        finally:
            if transport is not None:
                transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subject: str) -> HookAnswer:
        parser = HookRequestReader(self._body_bytes)
        try:
            while (request := parser.receive_untrusted(await reader.read(_READ))) is None:
                if interim := parser.interim():
                    writer.write(interim)
                self._hold(subject, parser.kept_bytes)
            self._hold(subject, len(request.body))
        except BadRequestError as error:
            self._count("requests_bad")
            self._log.debug("a request is refused: %s", error)
            return HookAnswer(error.status)
        return await self._take(request)

    def _hold(self, subject: str, size: int) -> None:
        """Charge what has come of a body; where there is no room, a connection ends."""
        task = asyncio.current_task()
        for ended in self._bodies.hold(task, subject, size):
            self._count("bodies_displaced")
            cast("asyncio.Task[None]", ended).cancel()
