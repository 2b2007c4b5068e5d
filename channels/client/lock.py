"""Locking and unlocking the whole host, by a client that may. asyncio.

    asyncio.run(unlock_host("var/ops.tlsrt"))

Neither needs a session: one TLS connection, the authority's challenge, and a signature. The answer is a word that comes
by way of Primary, which may be captured, so it proves nothing. That the host is unlocked is believed when there is a
session again, which comes from the issuer, and that it is locked when its door says so.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from tlsrt.channels.client.address import parse_address
from tlsrt.channels.client.async_client import CONNECT_TIMEOUT_S, AsyncClient
from tlsrt.channels.client.connection import EARLY_ENDS, EndedEarly, client_context, connect, error_of
from tlsrt.channels.session.lock_statement import REASON_MAX, lock_statement, sign_statement, unlock_statement
from tlsrt.channels.session.opening import ClientIdentity, identity_of
from tlsrt.channels.tls.connection import ConnectionLimits, TlsConnection
from tlsrt.channels.tls.engine import TlsEngine
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.channels.tls.message_stream import PAYLOAD_MAX, PROTOCOL, parse_control_untrusted
from tlsrt.config.bundle import Bundle, read_bundle
from tlsrt.config.search_path import find_bundle
from tlsrt.errors import (
    Busy,
    CallError,
    Conflict,
    InvalidArgument,
    OutcomeUnknown,
    PeerError,
    Rejected,
    ServerLocked,
    Unavailable,
)

RETRY_S = 0.1  # between two attempts to see that the host is locked
NO_REASON = "no reason was given"
NOT_LOCKED, LOCKED, LOST = "not_locked", "locked", "lost"  # words of ours, beside the server's
REPLACED_S = 3.0  # at least: a Primary that is replaced ends its connections, and the next one is there by then
_ENDED = ("unlocked", "draining", LOST)  # the Primary that was asked has ended, or is about to

Source = Bundle | Path | str | None


async def unlock_host(bundle: Source = None, address: str | None = None, *, timeout_s: float = 30.0) -> None:
    """Unlock the host, and wait until it gives sessions again.

    Raises Conflict if it is not locked, Rejected if this client may not, Unavailable or ServerLocked if it stays so.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    found = _bundle_of(bundle)
    word = await _try(found, address, None, timeout_s)
    if word == NOT_LOCKED:
        raise Conflict("the host is not locked")
    if word not in _ENDED:
        raise _error_of(word, "unlock")
    while True:
        try:
            async with AsyncClient(found, address, wait_locked=max(1.0, end - loop.time())):
                return
        except Unavailable:  # the Primary that is replaced may have taken the connection
            if loop.time() >= end:
                raise
            await asyncio.sleep(RETRY_S)


async def lock_host(
    reason: str = "", bundle: Source = None, address: str | None = None, *, timeout_s: float = 10.0
) -> bool:
    """Lock the host; return whether it was not locked before. Raises InvalidArgument, Rejected, or OutcomeUnknown."""
    if len(reason) > REASON_MAX:
        raise InvalidArgument(f"a reason has at most {REASON_MAX} characters")
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    found = _bundle_of(bundle)
    word = await _try(found, address, reason or NO_REASON, timeout_s)
    if word == LOCKED:
        return False
    if word != LOST:
        raise _error_of(word, "lock")
    while loop.time() < end:
        try:
            async with AsyncClient(found, address):
                await asyncio.sleep(RETRY_S)
        except ServerLocked:
            return True
    raise OutcomeUnknown("the connection ended before the host had answered, and it is not locked")


def _bundle_of(source: Source) -> Bundle:
    return source if isinstance(source, Bundle) else read_bundle(find_bundle(None if source is None else str(source)))


class LockConnection(MessageLink):
    """One attempt. `reason` None unlocks, a text locks. `outcome` is the word that came of it."""

    def __init__(
        self, engine: TlsEngine, identity: ClientIdentity, reason: str | None, where: str, handshake_s: float
    ) -> None:
        super().__init__(TlsConnection(engine, self, ConnectionLimits(handshake_s=handshake_s)), PAYLOAD_MAX)
        self.outcome: asyncio.Future[str] = self._loop.create_future()
        self._identity = identity
        self._reason = reason
        self._where = where
        self._lock: tuple[bytes, ...] = ()  # install, boot and lock, as the door of a locked host says
        self._has_signed = False

    def payload_untrusted(self, payload: bytes) -> None:
        name, fields = parse_control_untrusted(payload, "server")
        if name in ("locked", "challenge") and fields[0] != self._identity.install:
            raise PeerError("other_install")
        if name == "locked" and self._reason is not None:
            self._end(LOCKED)
        elif name == "locked" and not self._lock:
            self._lock = fields
            self.say("ask_unlock")
        elif name == "challenge" and self._reason is None and not self._lock:
            self._end(NOT_LOCKED)
        elif name == "challenge" and not self._has_signed:
            self._sign(*fields[:3])
        elif name in ("refused", "goodbye"):  # the door ends a connection in time; the unlock may come late
            self._end(LOST if self.has_asked_to_unlock and fields[0] == "locked" else fields[0])
        elif name != "succession":
            raise PeerError(f"{name}_out_of_place")

    def _sign(self, install: bytes, boot: bytes, challenge: bytes) -> None:
        self._has_signed = True
        certificate, key = self._identity.certificate, self._identity.private_key
        if self._reason is None:
            statement = unlock_statement(install, boot, self._lock[2], challenge)
            self.say("unlock", certificate, sign_statement(key, statement))
        else:
            statement = lock_statement(install, boot, challenge, self._reason)
            self.say("lock", certificate, self._reason, sign_statement(key, statement))

    def _end(self, word: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(word)
        self.connection.close("word_" + word)

    @property
    def has_signed(self) -> bool:
        return self._has_signed

    @property
    def has_asked_to_unlock(self) -> bool:
        return self._has_signed and self._reason is None

    def choose_handler(self) -> LockConnection:
        return self

    def on_handshake_bytes(self, *, has_hello: bool) -> None:
        pass

    def on_end(self, reason: str) -> None:
        if self.outcome.done():
            return
        if self._has_signed:
            self.outcome.set_result(LOST)
        else:
            detail, own = self.connection.engine.detail, self._identity.certificate
            self.outcome.set_exception(error_of("", reason, detail, self._where, own, datetime.now(UTC)))

    def on_socket_closed(self) -> None:
        """The outcome has come before."""


async def _try(bundle: Bundle, address: str | None, reason: str | None, timeout_s: float) -> str:
    """Unlock the host, or lock it for a reason; return the word that came of it. Raises a CallError or ConfigError.

    LOST: the connection ended after the signature had left, which a lock does. One that ends before, as that of a
    Primary which is being replaced, is made again for a moment: nothing was asked yet.
    """
    loop = asyncio.get_running_loop()
    again_until = loop.time() + max(REPLACED_S, timeout_s)
    while True:
        try:
            return await _try_once(bundle, address, reason, min(timeout_s, CONNECT_TIMEOUT_S))
        except EndedEarly as error:
            if loop.time() >= again_until:
                raise Unavailable(error.message) from None
        await asyncio.sleep(RETRY_S)


async def _try_once(bundle: Bundle, address: str | None, reason: str | None, timeout_s: float) -> str:
    host, port = parse_address(address) if address else (bundle.host, bundle.port)
    engine = TlsEngine(client_context(bundle), server_side=False, protocols=(PROTOCOL,), server_name=bundle.server_name)
    link = LockConnection(engine, identity_of(bundle), reason, f"{host}:{port}", timeout_s)
    try:
        return await connect(link.connection, host, port, link.outcome, timeout_s)
    except Unavailable as error:
        if link.has_asked_to_unlock:  # a slow disk makes it late: the next session tells
            return LOST
        if link.connection.ended in EARLY_ENDS and not link.has_signed:
            raise EndedEarly(error.message) from None
        raise
    finally:
        link.connection.abort("done")


def _error_of(word: str, what: str) -> CallError:
    if word == "unchanged":
        return Unavailable("the host stays locked: it cannot write its state, or record that it is unlocked")
    if word == "busy":
        return Busy("too many attempts to lock or unlock the host: try again in a second")
    return Rejected(
        f"this client may not {what} the host: it needs `may: [{what}]` in the host's configuration, or `client set`"
    )
