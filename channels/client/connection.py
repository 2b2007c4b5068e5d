"""One connection of a client to a door: TCP, TLS 1.3 both ways, challenge, open, grant. asyncio.

`dial` returns when the first grant has come, after one round trip above TLS, or raises an error that says what to do.
From then on the connection hands grants and frames to its owner, and tells it once when it is over.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, TypeVar

from tlsrt.channels.client.address import why_unreachable
from tlsrt.channels.client.happy_eyeballs import connected_socket
from tlsrt.channels.client.key_pair import load_key_pair
from tlsrt.channels.client.validity import client_refused, server_refused
from tlsrt.channels.session.grant import GrantContent
from tlsrt.channels.session.opening import ClientIdentity, Opening
from tlsrt.channels.tls.connection import ConnectionLimits, TlsConnection
from tlsrt.channels.tls.engine import TlsEngine
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.channels.tls.message_stream import PAYLOAD_MAX, PROTOCOL, is_frame, parse_control_untrusted
from tlsrt.config.bundle import Bundle
from tlsrt.config.issuer_chain import PinnedIssuer
from tlsrt.errors import (
    ConfigError,
    PeerError,
    Quarantined,
    TlsrtError,
    Unavailable,
    call_error,
    quarantined_untrusted,
)

Outcome = TypeVar("Outcome")
_WORDS = {
    "locked": "the server is locked",
    "busy": "the server has no room for another session of this client now: keep one open, or try again later",
    "rejected": "the server refused the session (unknown, expired or revoked client?); the host's log says why",
    "timeout": "the server's authority did not answer in time",
    "draining": "the server is shutting down",
}
_NOT_TRUSTED = {
    "other_install": "this bundle belongs to another installation",
    "grant_signature": "its grant is not signed by the issuer in the bundle, nor by one that follows it",
    "succession_signature": "it names another issuer, and the one in the bundle did not sign that",
}


def client_context(bundle: Bundle, scratch: Path | None = None) -> ssl.SSLContext:
    """Return a context for the bundle: TLS 1.3 only, its CA only, its certificate; raise ConfigError if damaged.

    OpenSSL takes the pair from named files only, so it gets memory files; nothing touches a disk. With `scratch` it is
    a file of that folder for a moment, in which the key is encrypted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # Python before 3.11.4 sets it: a cut connection is no end
    context.set_alpn_protocols([PROTOCOL])
    try:
        context.load_verify_locations(cadata=bundle.ca_pem.decode("ascii"))
        if scratch is None:
            _load_pair(context, bundle)
        else:
            load_key_pair(context, bundle.key_pem + b"\n" + bundle.certificate_pem, scratch)
    except (OSError, ValueError, TypeError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"the bundle of {bundle.name} is damaged: get a new one from the host") from error
    return context


def _load_pair(context: ssl.SSLContext, bundle: Bundle) -> None:
    descriptors: list[int] = []
    try:
        for data in (bundle.certificate_pem, bundle.key_pem):
            descriptors.append(os.memfd_create("tlsrt-bundle", os.MFD_CLOEXEC))
            os.write(descriptors[-1], data)
        certificate, key = (f"/proc/self/fd/{descriptor}" for descriptor in descriptors)
        context.load_cert_chain(certificate, key, password=b"")
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


class SessionOwner(Protocol):
    """Who keeps a connection to a server."""

    def on_granted(self, content: GrantContent) -> None:
        """Take the first grant of the connection, or a later one."""

    def on_frame(self, frame: bytes) -> None:
        """Take a frame, unchecked."""

    def on_issuer(self, issuer: PinnedIssuer) -> None:
        """Another issuer key follows the one in the bundle, which has signed that."""

    def on_end(self, reason: str) -> None:
        """The session is over: a word of the server, or a reason of ours. Comes once, after the first grant only."""

    def on_socket_closed(self) -> None:
        """The socket of one attempt is closed, or was never opened. Comes once for each."""


EARLY_ENDS: Final = ("cut", "reset", "closed_by_peer")


class EndedEarly(Unavailable):
    """The server ended a connection before it granted a session, and gave no reason: it is worth another try.

    A server without a free place cuts the peer that has sent least; in a flood a client may be that before it can send.
    """


class ServerConnection(MessageLink):
    """The client's end of `tlsrt/1`. Once `first` has failed, its owner hears only that the socket closed."""

    def __init__(
        self, engine: TlsEngine, opening: Opening, owner: SessionOwner, where: str, handshake_s: float
    ) -> None:
        super().__init__(TlsConnection(engine, self, ConnectionLimits(handshake_s=handshake_s)), PAYLOAD_MAX)
        self.first: asyncio.Future[None] = self._loop.create_future()  # done with the first grant
        self.word = ""  # the server's last
        self._opening = opening
        self._owner = owner
        self._where = where
        self._renewal: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._is_closed = False

    @property
    def issuer(self) -> PinnedIssuer:
        """The issuer key that is trusted by now."""
        return self._opening.issuer

    async def renew(self, request: bytes, signature: bytes) -> tuple[bytes, bytes]:
        """Ask for another certificate; return it and its signature, both empty if the host gives none."""
        self._renewal = self._loop.create_future()
        self.say("renew", request, signature)
        return await self._renewal

    def payload_untrusted(self, payload: bytes) -> None:
        if is_frame(payload):
            if not self.first.done():
                raise PeerError("frame_before_grant")
            self._owner.on_frame(payload)
            return
        name, fields = parse_control_untrusted(payload, "server")
        if name == "challenge":
            self.say("open", *self._opening.answer_untrusted(*fields[:3]))
        elif name == "succession":
            if self._opening.follow_untrusted(*fields):
                self._owner.on_issuer(self._opening.issuer)
        elif name == "granted":
            content = self._opening.accept_untrusted(*fields)
            if not self.first.cancelled():
                self._owner.on_granted(content)
            if not self.first.done():
                self.first.set_result(None)
        elif name in ("renewed", "not_renewed"):
            renewal, self._renewal = self._renewal, None
            if renewal is None:
                raise PeerError("renewed_unasked")
            if not renewal.done():
                renewal.set_result((fields[0], fields[1]) if name == "renewed" else (b"", b""))
        else:  # locked, refused, goodbye
            self.word = fields[0] if name != "locked" else name
            self.connection.close("word_" + self.word)

    def choose_handler(self) -> ServerConnection:
        return self

    def on_handshake_bytes(self, *, has_hello: bool) -> None:
        pass

    def on_end(self, reason: str) -> None:
        if not self.first.done():
            detail, own = self.connection.engine.detail, self._opening.certificate
            self.first.set_exception(error_of(self.word, reason, detail, self._where, own, datetime.now(UTC)))
        elif not self.first.cancelled() and self.first.exception() is None:
            self._owner.on_end(self.word or reason)

    def on_socket_closed(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._owner.on_socket_closed()


async def dial(
    host: str, port: int, server_name: str, context: ssl.SSLContext, identity: ClientIdentity, owner: SessionOwner,
    timeout_s: float,
) -> ServerConnection:  # fmt: skip
    """Return a connection with a granted session; raise a CallError or ConfigError."""
    engine = TlsEngine(context, server_side=False, protocols=(PROTOCOL,), server_name=server_name)
    link = ServerConnection(engine, Opening(identity), owner, f"{host}:{port}", timeout_s)
    try:
        await connect(link.connection, host, port, link.first, timeout_s)
    finally:
        if not link.connection.has_socket:
            link.on_socket_closed()
    return link


async def connect(
    connection: TlsConnection, host: str, port: int, outcome: asyncio.Future[Outcome], timeout_s: float
) -> Outcome:
    """Connect, and return what comes of it in time; otherwise cut the connection and raise Unavailable."""
    loop = asyncio.get_running_loop()
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(timeout_s):
            made = await connected_socket(host, port)
            await loop.create_connection(lambda: connection, sock=made)
            return await outcome
    except TimeoutError as error:
        outcome.cancel()
        connection.abort("timeout")
        raise Unavailable(f"no answer from {where} within {timeout_s:g} s") from error
    except OSError as error:
        raise Unavailable(f"cannot reach {where}: {why_unreachable(error)}") from error
    except asyncio.CancelledError:
        outcome.cancel()
        connection.abort("cancelled")
        raise


def error_of(word: str, reason: str, detail: str, where: str, own: bytes, now: datetime) -> TlsrtError:
    """Return the error for an ending before the first grant; `own` is our certificate, DER."""
    quarantined = quarantined_untrusted(word)
    if quarantined is not None:
        return Quarantined(f"{where}: {quarantined.message}", retry_after_s=quarantined.retry_after_s)
    if word:
        return call_error(word if word != "timeout" else "unavailable", f"{where}: {_WORDS.get(word, word)}")
    if "alert" in reason and ("certificate" in reason or "unknown_ca" in reason):
        return client_refused(own, detail, where, now)
    if "no_application_protocol" in reason or reason == "no_protocol":
        return Unavailable(f"the server at {where} does not speak tlsrt/1")
    if "certificate" in reason:
        return server_refused(
            detail, where, now,
            f"the server at {where} cannot prove that it is the one in the bundle ({detail}): "
            "check the address, or get a new bundle from the host",
        )  # fmt: skip
    if reason in EARLY_ENDS:
        return EndedEarly(f"the server at {where} ended the connection ({detail or reason})")
    if reason.startswith(("tls_", "handshake_timeout")):
        return Unavailable(f"the server at {where} ended the connection ({detail or reason})")
    return ConfigError(f"cannot trust the server at {where}: {_NOT_TRUSTED.get(reason, reason)}")
