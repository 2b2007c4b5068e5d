"""The door's second certificate, of a CA that clients over HTTP trust already, and challenges of its orders.

Clients of tlsrt trust the CA of their bundle and no other, so they are always shown the certificate of the door's
files. The other one is for who speaks HTTP and asks for a name that it has; an address cannot be asked for, so without
any name it is shown if it has an address. While an order runs, a client that offers `acme-tls/1` alone is shown the
challenge (RFC 8737); its connection ends with the handshake.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Collection, Sequence

from tlsrt.channels.tls.connection import Handler
from tlsrt.errors import ConfigError
from tlsrt.loops.door.accepted_connection import AcceptedConnection
from tlsrt.loops.door.service import UnauthenticatedHandlers
from tlsrt.loops.door.tls_contexts import (
    PROTOCOLS,
    certificate_names,
    issued_context,
    shake_hands,
    stranger_context,
)
from tlsrt.loops.door.tls_server import TlsServer

CHALLENGE = "acme-tls/1"
_HTTP, _PINNING = "http/1.1", PROTOCOLS[0].encode()


class _Ended(Handler):
    """Takes nothing."""

    def received_untrusted(self, data: bytes) -> None:
        """Drop it."""

    def lost(self, reason: str) -> None:
        """Do nothing: there is nothing to let go of."""


class IssuedCertificates:
    """What the door has beside its files. `attach` gives it the server, once there is one.

    `mode` says what a client for HTTP is asked for: a host with a console does not insist on a certificate.
    """

    def __init__(self, mode: ssl.VerifyMode = ssl.CERT_REQUIRED) -> None:
        self._mode = mode
        self._own: ssl.SSLContext | None = None  # of the door's files, for those clients, if it is not that of all
        self._pair: tuple[int, int] | None = None  # certificate, key
        self._number = 0
        self._authorities: Sequence[bytes] | None = None  # of clients, DER; none: the door has no files yet
        self._server: TlsServer | None = None
        self._context: ssl.SSLContext | None = None
        self._challenge: ssl.SSLContext | None = None
        self._has_address = False
        self.names: tuple[str, ...] = ()

    def attach(self, server: TlsServer, authorities: Sequence[bytes], own: ssl.SSLContext | None = None) -> None:
        """Serve at this server, to clients of these CAs: those of the door's files, which have changed.

        `own` is the context of these files for HTTP, if clients of tlsrt have another.
        """
        self._server, self._authorities, self._own = server, authorities, own
        self._renew()
        self._show()

    def set(self, number: int, certificate: int, key: int) -> None:
        """Serve with this pair from the next accept on; what it is known by already is closed."""
        if number == self._number:
            os.close(certificate)
            os.close(key)
            return
        self.clear()
        self._number, self._pair = number, (certificate, key)
        self._renew()

    def clear(self) -> None:
        """Serve with none."""
        pair, self._pair, self._number = self._pair, None, 0
        for descriptor in pair or ():
            os.close(descriptor)
        self._renew()

    def try_pair(self, certificate: int, key: int) -> str:
        """Shake hands with a pair; return why it cannot serve, or nothing. The descriptors are closed."""
        try:
            shake_hands(issued_context(certificate, key, self._authorities or (), [_HTTP]), _HTTP)
        except ConfigError as error:
            return str(error)
        finally:
            os.close(certificate)
            os.close(key)
        return ""

    def show_challenge(self, certificate: int, key: int) -> str:
        """Answer `acme-tls/1` with this from the next accept on; return why that cannot be, or nothing."""
        try:
            self._challenge = stranger_context(certificate, key, CHALLENGE)
        except ConfigError as error:
            return str(error)
        finally:
            os.close(certificate)
            os.close(key)
        self._show()
        return ""

    def hide_challenge(self) -> None:
        """Answer `acme-tls/1` no more."""
        self._challenge = None
        self._show()

    def _show(self) -> None:
        if self._server is not None:
            shown = self._challenge
            handlers = UnauthenticatedHandlers(CHALLENGE, shown, _end) if shown is not None else None
            self._server.take_strangers(CHALLENGE, handlers)

    def _renew(self) -> None:
        """Make the context anew: it has the pair, and the CAs of clients."""
        self._context, self.names, self._has_address = None, (), False
        if self._pair is not None and self._authorities is not None:
            self._context = issued_context(*self._pair, self._authorities, [_HTTP], self._mode)
            self.names = certificate_names(self._pair[0])
            self._has_address = any(map(_is_address, self.names))
        if self._server is not None:
            is_needed = self._context is not None or self._own is not None
            self._server.choose_context(self._choose if is_needed else None)

    def _choose(self, protocols: Collection[bytes], server_name: bytes) -> ssl.SSLContext | None:
        if _PINNING in protocols or _HTTP.encode() not in protocols:  # none: the hello was too large to be read
            return None
        is_asked = server_name.decode("latin-1") in self.names if server_name else self._has_address
        return self._context if is_asked and self._context is not None else self._own


def _end(client: AcceptedConnection, word: str) -> Handler:
    client.connection.close("closed_challenge")
    return _Ended()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
