"""A client's `unlock` and `lock`: one TLS connection, the authority's challenge, and a signature. asyncio.

What comes back is a word, by way of Primary, which may be captured: nobody takes it for more than that. Whether the
host is locked now, the door says when the client comes again; and whoever gets a session there has it from the issuer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from tlsrt.channels.client.connection import error_of
from tlsrt.channels.session.lock_statement import lock_statement, sign_statement, unlock_statement
from tlsrt.channels.session.opening import ClientIdentity
from tlsrt.channels.tls.connection import ConnectionLimits, TlsConnection
from tlsrt.channels.tls.engine import TlsEngine
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.channels.tls.message_stream import PAYLOAD_MAX, PROTOCOL, parse_control_untrusted
from tlsrt.errors import PeerError, TlsrtError, Unavailable

NOT_LOCKED, LOCKED, LOST = "not_locked", "locked", "lost"  # words of ours, beside the server's


class LockConnection(MessageLink):
    """One try. `reason` None unlocks, a text locks. `told` gets the word, once."""

    def __init__(
        self, connection: TlsConnection, identity: ClientIdentity, reason: str | None, told: Callable[[str], None]
    ) -> None:
        super().__init__(connection, PAYLOAD_MAX)
        self._identity = identity
        self._reason = reason
        self._told = told
        self._lock: tuple[bytes, ...] = ()  # install, boot and lock, as the door of a locked host says
        self.has_signed = False

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
        elif name == "challenge" and not self.has_signed:
            self._sign(*fields[:3])
        elif name in ("refused", "goodbye"):
            self._end(fields[0])
        elif name != "succession":
            raise PeerError(f"{name}_out_of_place")

    def _sign(self, install: bytes, boot: bytes, challenge: bytes) -> None:
        self.has_signed = True
        certificate, key = self._identity.certificate, self._identity.private_key
        if self._reason is None:
            statement = unlock_statement(install, boot, self._lock[2], challenge)
            self.say("unlock", certificate, sign_statement(key, statement))
        else:
            statement = lock_statement(install, boot, challenge, self._reason)
            self.say("lock", certificate, self._reason, sign_statement(key, statement))

    def _end(self, word: str) -> None:
        self._told(word)
        self.connection.close("word_" + word)


async def try_lock(
    host: str, port: int, server_name: str, context: ssl.SSLContext, identity: ClientIdentity, reason: str | None,
    timeout_s: float,
) -> str:  # fmt: skip
    """Unlock the host, or lock it for a reason; return the word that came of it. Raises a CallError or ConfigError.

    LOST: the connection ended after the signature had left, which a lock does.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[str] = loop.create_future()
    links: list[LockConnection] = []
    engine = TlsEngine(context, server_side=False, protocols=(PROTOCOL,), server_name=server_name)
    where = f"{host}:{port}"

    def told(word: str) -> None:
        if not outcome.done():
            outcome.set_result(word)

    def ended(reason: str) -> None:
        if outcome.done():
            return
        if links and links[0].has_signed:
            outcome.set_result(LOST)
        else:
            outcome.set_exception(error_of("", reason, engine.detail, where))

    def choose(connection: TlsConnection) -> LockConnection:
        links.append(LockConnection(connection, identity, reason, told))
        return links[0]

    connection = TlsConnection(
        engine, choose, gone=lambda: None, ended=ended, limits=ConnectionLimits(handshake_s=timeout_s)
    )
    try:
        async with asyncio.timeout(timeout_s):
            await loop.create_connection(lambda: connection, host, port, happy_eyeballs_delay=0.25)
            return await outcome
    except TimeoutError as error:
        raise Unavailable(f"no answer from {where} within {timeout_s:g} s") from error
    except OSError as error:
        raise Unavailable(f"cannot reach {where}: {error.strerror or error}") from error
    except TlsrtError:
        raise
    finally:
        connection.abort("done")
