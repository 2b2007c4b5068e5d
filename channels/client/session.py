"""The session of a client: a connection that is kept, and calls that wait for the next one. asyncio.

Theory of operation. A task holds one connection with one granted session open and dials again when it is lost,
with jittered exponential pauses. Calls go through a `Caller`, which seals them under the session's keys. While there
is no session, calls wait unsealed within their own deadline; what was in flight when the connection broke ends as
`OutcomeUnknown`, unless it was called with `idempotent=True`: then it is sealed anew and repeated, and the recipient
runs it once. A refusal (`Rejected`, `ServerLocked`, an untrusted server) fails the calls that wait at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tlsrt.backoff import Backoff
from tlsrt.channels.calls.caller import Caller
from tlsrt.channels.client.address import parse_address
from tlsrt.channels.client.certificate_renewal import CertificateRenewal
from tlsrt.channels.client.connection import EndedEarly, ServerConnection, client_context, dial
from tlsrt.channels.client.host_clock import HostClock
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.grant import GrantContent
from tlsrt.channels.session.opening import identity_of
from tlsrt.config.bundle import Bundle, follow_issuer, parse_bundle_untrusted, read_bundle
from tlsrt.config.issuer_chain import PinnedIssuer
from tlsrt.config.search_path import find_bundle
from tlsrt.errors import (
    Busy,
    CallError,
    ConfigError,
    PeerError,
    Rejected,
    ServerLocked,
    TlsrtError,
    Unavailable,
)

CONNECT_TIMEOUT_S = 10.0
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 10.0
BUSY_WAIT_S = 30.0  # so long `connect` tries again at a server that has no room for another session
EARLY_ENDS_MOST = 5  # and so often at one that ends connections without a word
PAUSE_REFUSED_S = 1.0  # a server that said no is not asked again sooner
STEADY_S = 5.0  # a session that lasted so long was a good one
WAITING_MAX = 1024
_FINAL = (Rejected, ServerLocked, ConfigError)
_log = logging.getLogger("tlsrt.client")


class ClientSession:
    """One session of one client at a time, kept open from `connect` to `close`. Its public face is AsyncClient."""

    def __init__(
        self, bundle: Bundle | Path | str | bytes | None = None, address: str | None = None, *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S, wait_locked: float = 0.0, scratch: Path | None = None,
    ) -> None:  # fmt: skip
        self._bundle_path: Path | None = None
        self._scratch = scratch
        if isinstance(bundle, bytes):
            bundle = parse_bundle_untrusted(bundle, "the content of the bundle")
        if not isinstance(bundle, Bundle):
            self._bundle_path = find_bundle(None if bundle is None else str(bundle))
            bundle = read_bundle(self._bundle_path)
        self.bundle = bundle
        self.host, self.port = parse_address(address) if address else (bundle.host, bundle.port)
        self.refused: Counter[str] = Counter()  # frames that were no authentic answers, by reason
        self.connections = 0  # sessions opened so far
        self._identity = identity_of(bundle)
        self._context = client_context(bundle, scratch)
        self._connect_timeout_s = connect_timeout_s
        self._wait_locked_s = float(wait_locked)
        self._locked_at: float | None = None  # the loop's time when the server was first found locked
        self.clock = HostClock()
        self._boot = b""
        self.endpoint, self.caller = self._new_caller()
        self._link: ServerConnection | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self._wanted = asyncio.Event()
        self._waiters: set[asyncio.Future[None]] = set()
        self._open_sockets = 0
        self._sockets_closed = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._closed = False
        self._renewal = CertificateRenewal(self._bundle_path, self._take_bundle)

    def _new_caller(self) -> tuple[Endpoint, Caller]:
        endpoint = Endpoint("")
        caller = Caller(endpoint, self._send, self.clock.now)
        caller.set_up(False)
        return endpoint, caller

    # -- life --------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open a session and keep it open until `close`; raises if the first attempt fails.

        A server that is `busy` is asked again for half a minute, and one that cuts the connection without a word five
        times: under a flood it does so to clients that are late with their first bytes.
        """
        if self._keeping is None:
            backoff = self._new_backoff()
            busy_until = asyncio.get_running_loop().time() + BUSY_WAIT_S
            early_ends = 0
            while True:
                least_s = PAUSE_REFUSED_S
                try:
                    await self._open()
                    break
                except Busy:  # too many sessions, or a slow disk
                    if asyncio.get_running_loop().time() >= busy_until:
                        raise
                except (ServerLocked, Unavailable) as error:  # cut while it is unlocked: it then gets another Primary
                    early_ends += isinstance(error, EndedEarly)
                    if not self.waits_for_unlock:
                        if not isinstance(error, EndedEarly) or early_ends > EARLY_ENDS_MOST:
                            raise
                        least_s = 0.0
                await asyncio.sleep(backoff.pause(least_s))
            self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """End the session; calls in flight end with Unavailable or OutcomeUnknown."""
        self._closed = True
        self._renewal.stop()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))
        if self._link is not None:
            self._link.flush()
            self._link.connection.close()
        self._went_down(Unavailable("the client was closed"))
        while self._open_sockets:
            self._sockets_closed.clear()
            await self._sockets_closed.wait()  # a second at most: the connection's own linger

    async def renew(self) -> None:
        """Get another certificate and put it into the bundle's file, as happens by itself after two thirds of its life.

        It is used from the next connection on, and then the old one ends. Raises Denied if the host gives none.
        """
        await self.ready(CONNECT_TIMEOUT_S)
        assert self._link is not None
        await self._renewal.renew(self._link, self._identity, self.bundle, self._boot, self.endpoint.session)

    def _take_bundle(self, bundle: Bundle) -> None:
        self._identity, self._context, self.bundle = (
            identity_of(bundle),
            client_context(bundle, self._scratch),
            bundle,
        )

    @property
    def connected(self) -> bool:
        """Whether there is a session now; without one, calls wait for the next."""
        return self._link is not None and not self._link.connection.ended

    @property
    def waits_for_unlock(self) -> bool:
        """Whether the server is locked now, and this client still waits for it."""
        if self._locked_at is None or self._closed:
            return False
        return asyncio.get_running_loop().time() - self._locked_at < self._wait_locked_s

    # -- the session -------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._open_sockets += 1
        self._lost = asyncio.get_running_loop().create_future()
        try:
            self._link = await self._dial()
        except BaseException as error:
            if isinstance(error, Rejected) and self._renewal.adopt(self.bundle):
                await self._open()  # another process has renewed the bundle
                return
            if isinstance(error, ServerLocked):
                now = asyncio.get_running_loop().time()
                self._locked_at = now if self._locked_at is None else self._locked_at
            elif isinstance(error, TlsrtError) and not isinstance(error, Unavailable):  # which says nothing of a lock
                self._locked_at = None
            if isinstance(error, TlsrtError):
                self._fail_waiting(error)
            raise
        self.connections += 1
        self._locked_at = None
        self._renewal.watch(self.bundle, self.renew)
        self.caller.set_up(True)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _dial(self) -> ServerConnection:
        return await dial(
            self.host, self.port, self.bundle.server_name, self._context, self._identity,
            self, self._connect_timeout_s,
        )  # fmt: skip

    async def _keep(self) -> None:
        """Keep a session open for ever."""
        loop = asyncio.get_running_loop()
        backoff = self._new_backoff()
        least_s = 0.0
        while True:
            if self._link is not None and self._lost is not None:
                opened = loop.time()
                word = await self._lost
                self._went_down(None)
                if loop.time() - opened >= STEADY_S:  # a server that lets us in only to cut us is no better than none
                    backoff.reset()
                least_s = 0.0
                if word == "idle" and not self._waiters:
                    self._wanted.clear()
                    await self._wanted.wait()
            await asyncio.sleep(backoff.pause(least_s))
            try:
                await self._open()
            except TlsrtError as error:
                least_s = PAUSE_REFUSED_S if isinstance(error, (*_FINAL, Busy)) else 0.0

    def _new_backoff(self) -> Backoff:
        return Backoff(PAUSE_FIRST_S, PAUSE_MAX_S)

    def on_granted(self, content: GrantContent) -> None:
        """Take the first grant of a connection, or a push."""
        first = self._link is None
        if first and self.clock.jumped(content.now):  # the host was started anew: nothing of before is good
            self.clock = HostClock()
            self.endpoint, self.caller = self._new_caller()
        if content.boot != self._boot:  # recipients count their lives from one again
            self._boot = content.boot
            self.caller.set_new_host()
        self.clock.learn(content.now, first=first)
        now = self.clock.now()
        self.endpoint.apply_grant(content, now)
        if content.grace_ms == 0:
            self.endpoint.retire(now)
            self.caller.pending.end_before(content.epoch)
        for timer in self._timers:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers = [
            loop.call_later(content.grace_ms / 1000 + 0.1, self._retire),
            loop.call_later(max(0, content.token_expires - now) / 1000, self._expired),
        ]

    def on_issuer(self, issuer: PinnedIssuer) -> None:
        """Another issuer key follows the one in the bundle, which has signed that: go by it, also the next time."""
        self._identity = replace(self._identity, issuer=issuer)
        self.bundle = replace(self.bundle, issuer_public=issuer.key, issuer_version=issuer.version)
        if self._bundle_path is None:
            return
        try:
            follow_issuer(self._bundle_path, self.bundle.install_id, issuer)
        except ConfigError as error:
            _log.warning(
                "the host has a new issuer key (version %d), and the client's bundle cannot be renewed: %s; it works "
                "for now: let it be written, or get a new one from the host",
                issuer.version, error,
            )  # fmt: skip
            self._bundle_path = None  # said once

    def _retire(self) -> None:
        self.endpoint.retire(self.clock.now())

    def _expired(self) -> None:
        """Open another session: no renewal has come in time."""
        if self._link is not None:
            self._link.connection.close("expired")

    def on_frame(self, frame: bytes) -> None:
        """Take a frame from the server."""
        try:
            self.caller.pending.on_frame_untrusted(frame)
        except PeerError as error:  # what carries our messages may add to them, to no effect
            self.refused[error.reason] += 1

    def _send(self, frame: bytes) -> None:
        if self._link is None or self._link.connection.ended:
            raise Unavailable("the connection is down")
        self._link.send(frame)

    def on_end(self, reason: str) -> None:
        """Have the next connection made."""
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    def on_socket_closed(self) -> None:
        """Count the sockets that `close` waits for."""
        self._open_sockets -= 1
        self._sockets_closed.set()

    def _went_down(self, error: CallError | None) -> None:
        """End the calls in flight: the session is over."""
        link, self._link = self._link, None
        for timer in self._timers:
            timer.cancel()
        self.caller.set_up(False)
        self.caller.pending.fail_all(None, link.unsent if link is not None else ())
        if error is not None:
            self._fail_waiting(error)

    # -- waiting for one ---------------------------------------------------------------------------------------

    async def ready(self, timeout_s: float) -> float:
        """Wait for a session; return the seconds that are left."""
        if self.connected:
            return timeout_s
        if self._closed or self._keeping is None:
            raise Unavailable("the client is not connected: use `async with AsyncClient(...)`, or connect()")
        if len(self._waiters) >= WAITING_MAX:
            raise Busy(f"{WAITING_MAX} calls wait for a connection already")
        loop = asyncio.get_running_loop()
        start = loop.time()
        self._wanted.set()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.add(waiter)
        try:
            while not (await asyncio.wait((waiter,), timeout=timeout_s))[0]:
                if not self.waits_for_unlock:
                    raise Unavailable(f"no session with {self.host}:{self.port} in time; the request was not sent")
                start = loop.time()
            await waiter
        finally:
            self._waiters.discard(waiter)
        left = timeout_s - (loop.time() - start)
        if left <= 0:
            raise Unavailable(f"no session with {self.host}:{self.port} in time; the request was not sent")
        return left

    def _fail_waiting(self, error: TlsrtError) -> None:
        if not (self._closed or isinstance(error, _FINAL)) or self.waits_for_unlock:
            return  # it will be tried again
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
