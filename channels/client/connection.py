"""One connection of a client to a door: TCP, TLS 1.3 both ways, challenge, open, grant. asyncio.

`dial` returns when the first grant is there, after one round trip above TLS, or raises an error that says what to do.
From then on the link hands grants and frames to its owner and says once when it is over.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from tlsrt.channels.session.grant import GrantContent
from tlsrt.channels.session.opening import ClientIdentity, Opening
from tlsrt.channels.tls.connection import ConnectionLimits, TlsConnection
from tlsrt.channels.tls.engine import TlsEngine
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.channels.tls.message_stream import PAYLOAD_MAX, PROTOCOL, is_frame, parse_control_untrusted
from tlsrt.config.bundle import Bundle
from tlsrt.config.issuer_chain import PinnedIssuer
from tlsrt.errors import ConfigError, PeerError, Rejected, TlsrtError, Unavailable, call_error

_WORDS = {
    "locked": "the server is locked",
    "busy": "the server has no room for another session now",
    "rejected": "the server refused the session (unknown, expired or revoked client?); the host's log says why",
    "timeout": "the server's authority did not answer in time",
    "draining": "the server is shutting down",
}
_NOT_TRUSTED = {
    "other_install": "this bundle belongs to another installation",
    "grant_signature": "its grant is not signed by the issuer in the bundle, nor by one that follows it",
    "succession_signature": "it names another issuer, and the one in the bundle did not sign that",
}


def client_context(bundle: Bundle) -> ssl.SSLContext:
    """Return a context for the bundle: TLS 1.3 only, its CA only, its certificate; raise ConfigError if damaged.

    OpenSSL takes the pair from named files only, so it gets memory files; nothing touches a disk.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([PROTOCOL])
    descriptors: list[int] = []
    try:
        context.load_verify_locations(cadata=bundle.ca_pem.decode("ascii"))
        for data in (bundle.certificate_pem, bundle.key_pem):
            descriptors.append(os.memfd_create("tlsrt-bundle", os.MFD_CLOEXEC))
            os.write(descriptors[-1], data)
        certificate, key = (f"/proc/self/fd/{descriptor}" for descriptor in descriptors)
        context.load_cert_chain(certificate, key, password=b"")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"the bundle of {bundle.name} is damaged: get a new one from the host") from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return context


@dataclass(frozen=True, slots=True)
class Endings:
    """What the owner of a link wants to hear; `ended` comes once, with a word of the server or a reason of ours."""

    granted: Callable[[GrantContent], None]
    frame: Callable[[bytes], None]
    ended: Callable[[str], None]
    succeeded: Callable[[PinnedIssuer], None] = lambda issuer: None  # another issuer key from now on


class ServerConnection(MessageLink):
    """The client's end of `tlsrt/1`."""

    def __init__(self, connection: TlsConnection, opening: Opening, owner: Endings) -> None:
        super().__init__(connection, PAYLOAD_MAX)
        self.is_granted = False
        self.word = ""  # the server's last word
        self.on_renewed: Callable[[bytes, bytes], None] | None = None  # certificate, signature; empty: refused
        self._opening = opening
        self._owner = owner

    def payload_untrusted(self, payload: bytes) -> None:
        if is_frame(payload):
            if not self.is_granted:
                raise PeerError("frame_before_grant")
            self._owner.frame(payload)
            return
        name, fields = parse_control_untrusted(payload, "server")
        if name == "challenge":
            self.say("open", *self._opening.answer_untrusted(*fields[:3]))
        elif name == "succession":
            if self._opening.follow_untrusted(*fields):
                self._owner.succeeded(self._opening.issuer)
        elif name == "granted":
            content = self._opening.accept_untrusted(*fields)
            self.is_granted = True
            self._owner.granted(content)
        elif name in ("renewed", "not_renewed"):
            told, self.on_renewed = self.on_renewed, None
            if told is None:
                raise PeerError("renewed_unasked")
            told(*(fields if name == "renewed" else (b"", b"")))
        else:  # locked, refused, goodbye
            self.word = fields[0] if name != "locked" else name
            self.connection.close("word_" + self.word)

    @property
    def issuer(self) -> PinnedIssuer:
        """The issuer key that is gone by now."""
        return self._opening.issuer

    def lost(self, reason: str) -> None:
        self._owner.ended(self.word or reason)


async def dial(
    host: str, port: int, server_name: str, context: ssl.SSLContext, identity: ClientIdentity, owner: Endings,
    gone: Callable[[], None], timeout_s: float,
) -> ServerConnection:  # fmt: skip
    """Return a link with a granted session; raise a CallError or ConfigError. `gone` comes once its socket is closed.

    `owner.granted` has been called when this returns; after an error `owner` hears nothing more.
    """
    loop = asyncio.get_running_loop()
    first: asyncio.Future[ServerConnection] = loop.create_future()
    links: list[ServerConnection] = []
    closed: list[bool] = []
    engine = TlsEngine(context, server_side=False, protocols=(PROTOCOL,), server_name=server_name)
    where = f"{host}:{port}"

    def granted(content: GrantContent) -> None:
        if not first.done():
            owner.granted(content)
            first.set_result(links[0])
        elif not first.cancelled():
            owner.granted(content)

    def ended(reason: str) -> None:
        if not first.done():
            first.set_exception(error_of(links[0].word if links else "", reason, engine.detail, where))
        elif not first.cancelled() and first.exception() is None:
            owner.ended(links[0].word or reason)

    def choose(connection: TlsConnection) -> ServerConnection:
        endings = Endings(granted, owner.frame, lambda reason: None, owner.succeeded)
        links.append(ServerConnection(connection, Opening(identity), endings))
        return links[0]

    def gone_once() -> None:
        if not closed:
            closed.append(True)
            gone()

    limits = ConnectionLimits(handshake_s=timeout_s)
    connection = TlsConnection(engine, choose, gone=gone_once, ended=ended, limits=limits)
    try:
        async with asyncio.timeout(timeout_s):
            await loop.create_connection(lambda: connection, host, port, happy_eyeballs_delay=0.25)
            return await first
    except TimeoutError as error:
        connection.abort("timeout")
        raise Unavailable(f"no answer from {where} within {timeout_s:g} s") from error
    except OSError as error:
        raise Unavailable(f"cannot reach {where}: {error.strerror or error}") from error
    except asyncio.CancelledError:
        connection.abort("cancelled")
        raise
    finally:
        if not connection.has_socket:
            gone_once()


def error_of(word: str, reason: str, detail: str, where: str) -> TlsrtError:
    """Return the error for an ending before the first grant."""
    if word:
        return call_error(word if word != "timeout" else "unavailable", f"{where}: {_WORDS.get(word, word)}")
    if "alert" in reason and ("certificate" in reason or "unknown_ca" in reason):
        return Rejected(f"the server at {where} does not accept this bundle's certificate ({detail})")
    if "no_application_protocol" in reason or reason == "no_protocol":
        return Unavailable(f"the server at {where} does not speak tlsrt/1")
    if "certificate" in reason:
        return ConfigError(
            f"the server at {where} cannot prove that it is the one in the bundle ({detail}): "
            "check the address, or get a new bundle from the host"
        )
    if reason.startswith(("tls_", "cut", "reset", "closed_by_peer", "handshake_timeout")):
        return Unavailable(f"the server at {where} ended the connection ({detail or reason})")
    return ConfigError(f"cannot trust the server at {where}: {_NOT_TRUSTED.get(reason, reason)}")
