"""The client CA: its key, which only the authority reads, and what it signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from tlsrt.config import pki
from tlsrt.config.key_providers import CA_KEY
from tlsrt.errors import ConfigError, NotFound
from tlsrt.supervisor.authority.door.files import read_file
from tlsrt.supervisor.authority.model.client_registry import Certified
from tlsrt.supervisor.process.private_key import read_private_key
from tlsrt.supervisor.process.secret_memory import wipe

KEY_FILE_MAX = 1 << 16
_NO_KEY = (
    "this host enrols no clients: name the private key of door.client_ca as door.client_ca_key in the configuration, "
    "run `tlsrt-supervisor seal`, and start again"
)
_OTHER_KEY = (
    "door.client_ca_key belongs to no certificate in door.client_ca: name the key that does, seal, and start again"
)
_OTHER_CA = (
    "the door's certificate was not issued by a CA in door.client_ca, so clients could not be told whom to trust: put "
    "the issuer into door.client_ca too, seal, and reload"
)


@dataclass(frozen=True, slots=True)
class CaKey:
    """The private key that signs clients' certificates."""

    key: EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey = field(repr=False)

    def certificate_of(self, authorities: Sequence[Certificate]) -> Certificate:
        """Return the CA certificate that it belongs to; raise ConfigError if there is none."""
        public = self.key.public_key()
        for authority in authorities:
            if authority.public_key() == public:
                return authority
        raise ConfigError(_OTHER_KEY)


@dataclass(frozen=True, slots=True)
class Issuance:
    """A client's certificate, DER, and what the registry keeps of it."""

    certificate: bytes
    certified: Certified


class ClientCA:
    """Issues certificates, by the CAs that the door trusts now. Raises NotFound with a sentence where it cannot."""

    def __init__(self, key: CaKey | None, install: bytes) -> None:
        self._key = key
        self._install = install

    def check(self, authorities: Sequence[Certificate]) -> tuple[CaKey, Certificate]:
        """Return key and CA certificate; raise NotFound if this host cannot enrol."""
        if self._key is None:
            raise NotFound(_NO_KEY)
        try:
            return self._key, self._key.certificate_of(authorities)
        except ConfigError as error:
            raise NotFound(str(error)) from error

    def issue(
        self, authorities: Sequence[Certificate], name: str, public_key: pki.ClientKey, ttl_ms: int, wall: int
    ) -> Issuance:
        """Return a certificate for a client's key, that ends after `ttl_ms` or with the CA. `wall` is ms."""
        key, authority = self.check(authorities)
        now = datetime.fromtimestamp(wall // 1000, UTC)
        ends = min(now + timedelta(milliseconds=ttl_ms), authority.not_valid_after_utc)
        certificate = pki.sign_client(authority, key.key, self._install, name, public_key, now, ends)
        certified = Certified(
            certificate.fingerprint(SHA256()), f"{certificate.serial_number:x}",
            int(certificate.not_valid_after_utc.timestamp() * 1000),
        )  # fmt: skip
        return Issuance(certificate.public_bytes(Encoding.DER), certified)


def read_ca_key(descriptor: int, authorities: Sequence[Certificate]) -> CaKey | None:
    """Read the key by descriptor, and check that it belongs to a CA; None for an empty file. Raises ConfigError."""
    pem = read_file(descriptor, CA_KEY, KEY_FILE_MAX)
    if not pem:
        return None
    try:
        key = read_private_key(pem)
    except TypeError:
        raise ConfigError("door.client_ca_key is encrypted: store it without a passphrase, mode 0600") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("door.client_ca_key is not a PEM private key: name the right file") from None
    finally:
        wipe(pem)
    if not isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey):
        raise ConfigError("door.client_ca_key is neither ECDSA, Ed25519 nor RSA: use a CA with such a key")
    found = CaKey(key)
    found.certificate_of(authorities)
    return found


def pinned_ca(chain: Sequence[Certificate], authorities: Sequence[Certificate], signer: Certificate) -> Certificate:
    """Return the CA that new clients pin: the `signer` of their certificates, if it vouches for the door's, too.

    `chain` is the door's certificate and those of CAs that it shows with it: while one CA takes the place of another,
    the new one has certified the former. Else it is the issuer of the door's certificate. Raise NotFound if that is not
    in client_ca.
    """
    own, *shown = chain
    links = [own, *(one for one in shown if _is_issued(own, one))]
    if any(_is_issued(one, signer) for one in links):
        return signer
    for authority in authorities:
        if _is_issued(own, authority):
            return authority
    raise NotFound(_OTHER_CA)


def _is_issued(certificate: Certificate, authority: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
