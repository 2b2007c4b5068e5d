"""Files of the TLS door: checked here, then handed to Primary as sealed memfds."""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import Certificate, load_pem_x509_certificates

from tlsrt.config.files import write_all
from tlsrt.errors import ConfigError
from tlsrt.supervisor.authority.model.crl import RevocationLists, parse_revocation_lists
from tlsrt.supervisor.process.private_key import read_private_key
from tlsrt.supervisor.process.secret_memory import read_secret, wipe

FILE_MAX = 1 << 20
CRL_MAX = 16 << 20
CLOCK_SLACK = timedelta(minutes=5)
WARN_BEFORE = timedelta(days=14)
_LONG_AGO, _IN_THE_END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_NOEXEC_SEAL = 0x0008  # MFD_NOEXEC_SEAL, Linux 6.3: the memfd can never be executed
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True)
class DoorFiles:
    """Sealed memfds of the door, in the order of the `door` message, and what is in them."""

    certificate: int
    key: int
    client_ca: int
    crl: int  # empty if there is none
    authorities: tuple[Certificate, ...]
    revoked: RevocationLists | None = None
    begins: datetime = _LONG_AGO  # of the certificate
    ends: datetime = _IN_THE_END
    digest: bytes = b""  # of all four
    chain: tuple[Certificate, ...] = ()  # the certificate, and those of CAs that are shown with it

    @property
    def descriptors(self) -> tuple[int, int, int]:
        """Return what Primary gets; revocation is the authority's to judge."""
        return (self.certificate, self.key, self.client_ca)

    @property
    def kept(self) -> tuple[int, int, int, int]:
        """Return what the next authority of this life boots with."""
        return (*self.descriptors, self.crl)

    def check_time(self, wall: int) -> None:
        """Raise ConfigError if the certificate or a revocation list is not valid now; `wall` is ms."""
        now = datetime.fromtimestamp(wall / 1000, UTC)
        if now >= self.ends:
            raise ConfigError(f"the door's certificate ended on {self.ends:%Y-%m-%d %H:%M} UTC: put a valid one there")
        if now + CLOCK_SLACK < self.begins:
            raise ConfigError(f"the door's certificate begins on {self.begins:%Y-%m-%d %H:%M} UTC only")
        if self.revoked is not None:
            self.revoked.check_time(wall)

    def warnings(self, wall: int) -> list[str]:
        """Return sentences about what has ended or ends soon."""
        now, sentences = datetime.fromtimestamp(wall / 1000, UTC), list[str]()
        if now < self.begins:
            sentences.append(
                f"the door's certificate has not begun: it does on {self.begins:%Y-%m-%d %H:%M} UTC, so clients refuse "
                "it; set this host's clock"
            )
        if now >= self.ends - min(WARN_BEFORE, (self.ends - self.begins) / 3):
            verb = "ended" if now >= self.ends else "ends"
            sentences.append(f"the door's certificate {verb} on {self.ends:%Y-%m-%d %H:%M} UTC")
        return sentences + (self.revoked.warnings(wall) if self.revoked is not None else [])

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self.kept:
            os.close(descriptor)


def read_door_files(certificate: int, key: int, client_ca: int, crl: int) -> DoorFiles:
    """Read files by descriptor, check that they fit, and seal copies; an empty `crl` is none. Raises ConfigError."""
    certificate_pem = read_file(certificate, "the door's certificate")
    key_pem = read_file(key, "the door's key")
    ca_pem = read_file(client_ca, "the client CA")
    crl_data = read_file(crl, "the revocation list", CRL_MAX)
    authorities = _certificates(ca_pem, "the client CA")
    chain = _certificates(certificate_pem, "the door's certificate")
    own = chain[0]
    _check_pair(own, key_pem)
    revoked = parse_revocation_lists(crl_data, authorities) if crl_data else None
    texts = (("door-crt", certificate_pem), ("door-key", key_pem), ("client-ca", ca_pem), ("crl", crl_data))
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for _, data in texts)).digest()
    first, second, third, fourth = (seal_copy(name, data) for name, data in texts)
    wipe(key_pem)
    ends = own.not_valid_after_utc
    return DoorFiles(first, second, third, fourth, authorities, revoked, own.not_valid_before_utc, ends, digest, chain)


def read_file(descriptor: int, what: str, limit: int = FILE_MAX) -> bytes:
    """Return a whole file from offset 0, since the offset is shared with the next authority. Raises ConfigError."""
    try:
        data = read_secret(descriptor, limit + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {what}: {error.strerror}") from None
    if len(data) > limit:
        raise ConfigError(f"{what} is larger than {limit} bytes: name the right file")
    return data


def seal_copy(name: str, data: bytes) -> int:
    """Return a memfd with `data` that cannot be changed any more, memfd_create(2)."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create(f"tlsrt-{name}", flags | _NOEXEC_SEAL)
    except OSError:  # an older kernel does not know the flag
        descriptor = os.memfd_create(f"tlsrt-{name}", flags)
    write_all(descriptor, data)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def _certificates(pem: bytes, what: str) -> tuple[Certificate, ...]:
    try:
        return tuple(load_pem_x509_certificates(pem))
    except ValueError:
        raise ConfigError(f"{what} is not a PEM certificate: name the right file") from None


def _check_pair(certificate: Certificate, key_pem: bytes) -> None:
    try:
        key = read_private_key(key_pem)
        public = key.public_key()
        fits = public == certificate.public_key()
    except TypeError:
        raise ConfigError("the door's key is encrypted: store it without a passphrase, mode 0600") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("the door's key is not a PEM private key: name the right file") from None
    if not fits:
        raise ConfigError("the door's key does not belong to the door's certificate: name a pair that fits")
