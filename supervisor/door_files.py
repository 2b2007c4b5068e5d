"""The files of the TLS door: checked here, then handed to Primary as sealed memfds. The supervisor never reads them."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import Certificate, load_pem_x509_certificates

from tlsrt.errors import ConfigError

FILE_MAX = 1 << 20
_NOEXEC_SEAL = 0x0008  # MFD_NOEXEC_SEAL, Linux 6.3: the memfd can never be executed
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True)
class DoorFiles:
    """Sealed memfds, in the order of the `door` message, and the client CA certificates."""

    certificate: int
    key: int
    client_ca: int
    authorities: tuple[Certificate, ...]

    @property
    def descriptors(self) -> tuple[int, int, int]:
        return (self.certificate, self.key, self.client_ca)


def read_door_files(certificate: int, key: int, client_ca: int) -> DoorFiles:
    """Read three PEM files by descriptor, check that they fit, and seal copies. Raises ConfigError."""
    certificate_pem = read_file(certificate, "the door's certificate")
    key_pem = read_file(key, "the door's key")
    ca_pem = read_file(client_ca, "the client CA")
    authorities = _certificates(ca_pem, "the client CA")
    _check_pair(_certificates(certificate_pem, "the door's certificate")[0], key_pem)
    sealed = [seal_copy(name, pem) for name, pem in (("door-crt", certificate_pem), ("door-key", key_pem))]
    return DoorFiles(sealed[0], sealed[1], seal_copy("client-ca", ca_pem), authorities)


def read_file(descriptor: int, what: str, limit: int = FILE_MAX) -> bytes:
    """Return a whole file from offset 0, since the offset is shared with the next authority. Raises ConfigError."""
    data = bytearray()
    try:
        while piece := os.pread(descriptor, 1 << 18, len(data)):
            data += piece
            if len(data) > limit:
                raise ConfigError(f"{what} is larger than {limit} bytes: name the right file")
    except OSError as error:
        raise ConfigError(f"cannot read {what}: {error.strerror}") from None
    return bytes(data)


def seal_copy(name: str, data: bytes) -> int:
    """Return a memfd with `data` that nobody can change, memfd_create(2)."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create(f"tlsrt-{name}", flags | _NOEXEC_SEAL)
    except OSError:  # an older kernel does not know the flag
        descriptor = os.memfd_create(f"tlsrt-{name}", flags)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def _certificates(pem: bytes, what: str) -> tuple[Certificate, ...]:
    try:
        return tuple(load_pem_x509_certificates(pem))
    except ValueError:
        raise ConfigError(f"{what} is not a PEM certificate: name the right file") from None


def _check_pair(certificate: Certificate, key_pem: bytes) -> None:
    try:
        key = serialization.load_pem_private_key(key_pem, None)
        public = key.public_key()
        fits = public == certificate.public_key()
    except TypeError:
        raise ConfigError("the door's key is encrypted: store it without a passphrase, mode 0600") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("the door's key is not a PEM private key: name the right file") from None
    if not fits:
        raise ConfigError("the door's key does not belong to the door's certificate: name a pair that fits")
