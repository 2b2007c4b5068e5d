"""The TLS contexts of the door, from sealed memory files. The engine itself is `tlsrt.channels.tls.engine`.

A context is never changed once it serves: `load_cert_chain` on a live one leaves it without a usable certificate when
the pair is bad (measured). A new one is made, tried, and used from the next accept on.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.x509 import (
    DNSName,
    ExtensionNotFound,
    IPAddress,
    SubjectAlternativeName,
    load_pem_x509_certificate,
)

from tlsrt.channels.session.enrolment import PROTOCOL as ENROLMENT
from tlsrt.channels.tls.engine import State, TlsEngine
from tlsrt.errors import ConfigError

PROTOCOLS = ("tlsrt/1",)
PEM_MAX = 1 << 20
# SSL_OP_NO_RX_CERTIFICATE_COMPRESSION (OpenSSL 3.2; Python has no name for it): no stranger's certificate is unpacked.
_NO_RX_CERTIFICATE_COMPRESSION = 1 << 33
HTTP = "http/1.1"


class Contexts(NamedTuple):
    """The contexts of one generation of files."""

    clients: ssl.SSLContext  # with a certificate
    enrolments: ssl.SSLContext | None  # of clients without one
    web: ssl.SSLContext | None  # for HTTP, where a client may have none


def server_context(
    certificate_fd: int, key_fd: int, ca_fd: int, protocols: Sequence[str] = PROTOCOLS
) -> ssl.SSLContext:
    """Return a context: TLS 1.3 only, mutual, no tickets. The descriptors are memfds and stay open and unmoved.

    Raises ConfigError if the certificate, its key and the client CA cannot serve together. OpenSSL reads files by
    name only: /proc/self/fd/N opens the memfd anew, at position 0, however it was read before.
    """
    context = _bare_context(protocols)
    context.verify_mode = ssl.CERT_REQUIRED
    _load_pair(context, certificate_fd, key_fd)
    _load_client_ca(context, ca_fd)
    return context


def issued_context(
    certificate_fd: int, key_fd: int, authorities: Sequence[bytes], protocols: Sequence[str],
    mode: ssl.VerifyMode = ssl.CERT_REQUIRED,
) -> ssl.SSLContext:  # fmt: skip
    """Return the same for another pair. `authorities` are the client CAs as the context of the door has them, DER.

    `mode` says whether clients are asked for a certificate, and whether they must have one.
    """
    context = _bare_context(protocols)
    context.verify_mode = mode
    _load_pair(context, certificate_fd, key_fd)
    if authorities:
        context.load_verify_locations(cadata=b"".join(authorities))
    return context


def stranger_context(certificate_fd: int, key_fd: int, protocol: str) -> ssl.SSLContext:
    """Return a context for clients that have no certificate yet. It speaks this protocol and no other."""
    context = _bare_context([protocol])
    context.verify_mode = ssl.CERT_NONE
    _load_pair(context, certificate_fd, key_fd)
    return context


def certificate_names(certificate_fd: int) -> tuple[str, ...]:
    """Return the names and addresses of a certificate, PEM; none if it has no SubjectAlternativeName."""
    certificate = load_pem_x509_certificate(os.pread(certificate_fd, PEM_MAX, 0))
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return ()
    return (*names.get_values_for_type(DNSName), *map(str, names.get_values_for_type(IPAddress)))


def shake_hands(context: ssl.SSLContext, protocol: str = PROTOCOLS[0]) -> None:
    """Prove that a context can serve: a client of our own finishes its side of a handshake, in memory.

    Raises ConfigError. That client shows no certificate, which the server would refuse only after its own part is done.
    """
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.minimum_version = ssl.TLSVersion.TLSv1_3
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    client_context.set_alpn_protocols([protocol])
    client = TlsEngine(client_context, server_side=False, protocols=(protocol,))
    server = TlsEngine(context, server_side=True, protocols=(protocol,))
    for _ in range(4):
        server.receive_untrusted(client.take_outgoing())
        if server.state is State.FAILED or client.state is not State.HANDSHAKE:
            break
        client.receive_untrusted(server.take_outgoing())
    if client.state is not State.OPEN:
        raise ConfigError(
            f"no handshake succeeds: {server.detail or server.failure or client.detail or client.failure}"
        )


def _bare_context(protocols: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a resumed session would outlive the revocation of its certificate
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= _NO_RX_CERTIFICATE_COMPRESSION
    context.set_alpn_protocols(list(protocols))
    return context


def _load_pair(context: ssl.SSLContext, certificate_fd: int, key_fd: int) -> None:
    try:
        context.load_cert_chain(f"/proc/self/fd/{certificate_fd}", f"/proc/self/fd/{key_fd}", password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(_pair_sentence(error)) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot load the server certificate and its key: {error}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted: store it without a password, mode 0600")


def _pair_sentence(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the server certificate and the server key do not belong together: give the pair that was made together"
    return f"cannot load the server certificate and its key: {error.reason or error}"


def _load_client_ca(context: ssl.SSLContext, descriptor: int) -> None:
    try:
        context.load_verify_locations(cadata=os.pread(descriptor, PEM_MAX, 0).decode("ascii"))
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(f"cannot load the client CA, it must be PEM certificates: {error}") from error
    if not context.get_ca_certs():
        raise ConfigError("the client CA holds no CA certificate, so no client could ever connect")


class DoorContexts:
    """Contexts that were tried and do not serve yet. With `has_strangers` clients without a certificate may enrol.

    `web` says what a client for HTTP is asked for, where the host has a console; None: it must have a certificate.
    """

    def __init__(self, protocols: tuple[str, ...], *, has_strangers: bool, web: ssl.VerifyMode | None = None) -> None:
        self._protocols = protocols
        self._has_strangers = has_strangers
        self._web = web
        self._tried: dict[int, tuple[Contexts, tuple[str, ...]]] = {}  # by generation
        self.names: tuple[str, ...] = ()  # of the certificate whose contexts were taken last

    def make(self, generation: int, descriptors: Sequence[int]) -> str:
        """Make the contexts of certificate, key and client CA, and try them. Return why they cannot serve, or nothing.

        The descriptors are closed.
        """
        try:
            certificate, key, authority = descriptors
            context = server_context(certificate, key, authority, self._protocols)
            shake_hands(context)
            strangers = stranger_context(certificate, key, ENROLMENT) if self._has_strangers else None
            web = None
            if self._web is not None:
                web = issued_context(certificate, key, context.get_ca_certs(binary_form=True), [HTTP], self._web)
            self._tried[generation] = Contexts(context, strangers, web), certificate_names(certificate)
        except ConfigError as error:
            return str(error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return ""

    def take(self, generation: int) -> Contexts | None:
        """Return the contexts of a generation that was tried, and forget all."""
        contexts, self.names = self._tried.get(generation, (None, self.names))
        self._tried.clear()
        return contexts
