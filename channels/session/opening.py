"""How a client opens its session and takes grants: the client's half of `grant.py`. Pure.

One `Opening` lives as long as one TLS connection. It answers one challenge, and from then on accepts only grants that
the issuer in the bundle signed for this very open, each with a number above the last, for this install, boot, session
and subject. So a captured Primary can delay grants or withhold them, and no more. It is the same with a chain of
issuer keys (config/issuer_chain.py): withheld, the next grant is refused; anything else than what the pinned key signed
is refused at once.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tlsrt.channels.session.grant import GrantContent, Open, encode_open, open_digest, open_grant_untrusted, sign_open
from tlsrt.config.bundle import Bundle
from tlsrt.config.issuer_chain import PinnedIssuer, follow_untrusted, parse_chain_untrusted
from tlsrt.errors import ConfigError, PeerError


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who the client is and whom it trusts, from its bundle."""

    install: bytes
    issuer: PinnedIssuer
    certificate: bytes  # DER
    private_key: object = field(repr=False)


def identity_of(bundle: Bundle) -> ClientIdentity:
    """Return the identity in a bundle; raise ConfigError if its certificate or key is damaged."""
    try:
        certificate = ssl.PEM_cert_to_DER_cert(bundle.certificate_pem.decode("ascii"))
        key = load_pem_private_key(bundle.key_pem, None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the bundle of {bundle.name} is damaged: get a new one from the host") from error
    return ClientIdentity(bundle.install_id, bundle.issuer, certificate, key)


class Opening:
    """One session being opened and kept."""

    def __init__(
        self, identity: ClientIdentity, make_key: Callable[[], X25519PrivateKey] = X25519PrivateKey.generate
    ) -> None:
        self._identity = identity
        self.issuer = identity.issuer  # whose grants are accepted now
        self._ephemeral = make_key()
        self._digest = b""
        self._boot = b""
        self._last_number = 0
        self._first: GrantContent | None = None

    @property
    def certificate(self) -> bytes:
        """Our certificate, DER."""
        return self._identity.certificate

    def answer_untrusted(self, install: bytes, boot: bytes, challenge: bytes) -> tuple[bytes, bytes]:
        """Return (open, signature) for a challenge. Raise PeerError if it is not for us, or not the first."""
        if self._digest:
            raise PeerError("second_challenge")
        if install != self._identity.install:
            raise PeerError("other_install")
        public = self._ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        data = encode_open(Open(install, boot, challenge, self._identity.certificate, public))
        self._boot, self._digest = boot, open_digest(data)
        return data, sign_open(self._identity.private_key, data)

    def follow_untrusted(self, chain: bytes) -> bool:
        """Take the issuer key that follows ours, if a chain has one; return whether it did. Raises PeerError.

        From then on nothing is accepted that the key before has signed.
        """
        if not self._digest:
            raise PeerError("succession_before_challenge")
        before = self.issuer
        self.issuer = follow_untrusted(self._identity.install, before, parse_chain_untrusted(chain))
        return self.issuer != before

    def accept_untrusted(self, number: int, ciphertext: bytes, signature: bytes) -> GrantContent:
        """Return the content of the first or a later grant; raise PeerError for any other bytes."""
        if not self._digest:
            raise PeerError("grant_before_open")
        content = open_grant_untrusted(
            self._ephemeral, self._digest, self.issuer.key, self._last_number, number, ciphertext, signature,
        )  # fmt: skip
        if content.install != self._identity.install or content.boot != self._boot:
            raise PeerError("grant_elsewhere")
        first = self._first
        if first is not None and (content.session, content.subject) != (first.session, first.subject):
            raise PeerError("grant_session")
        self._first = first or content
        self._last_number = number
        return content
