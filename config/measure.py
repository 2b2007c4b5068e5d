"""The measurement of a host: a name and a SHA-256 for everything that decides what it does.

Names: `tlsrt/...` and `dep/PACKAGE/...` for each file of the code, `component/PACKAGE/...` for the operator's,
`config`, `client-ca`, and `certificate-names` (issuer and names only, so that a renewed certificate still boots). No
key is read. What is no regular file gets the digest of its kind, so that a new one shows.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from tlsrt.config.code_permissions import unreadable_for_others, writable_by
from tlsrt.config.files import as_config_error, read_bounded
from tlsrt.config.packages import Root, code_roots, component_roots, is_checkout, roots, walk
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.text import ascii_only

__all__ = [
    "code_roots", "component_roots", "is_checkout", "measure", "measured_paths", "unreadable_for_others", "writable_by",
]  # fmt: skip

MAX_PEM_BYTES = 1 << 20
_PIECE = 1 << 18


def measure(config: Config) -> dict[str, bytes]:
    """Return the SHA-256 of everything measured, by name. Raises ConfigError when something cannot be read."""
    found: dict[str, bytes] = {}
    for root in roots(config):
        with as_config_error("measure", root.path):
            _measure_root(root, found)
    found["config"] = _digest_of(config.path, "the configuration")
    found["client-ca"] = _digest_of(config.door.client_ca, "the client CA")
    found["certificate-names"] = _certificate_names(config.door.certificate)
    return found


def measured_paths(config: Config) -> list[Path]:
    """Return the folders and files of measured code, with those that a checkout links to."""
    paths = [root.path for root in roots(config)]
    package = paths[0]
    return paths + [entry.resolve() for entry in sorted(package.iterdir()) if entry.is_symlink() and entry.is_dir()]


def _measure_root(root: Root, found: dict[str, bytes]) -> None:
    if not root.path.is_dir():
        found[ascii_only(root.name)] = _digest(str(root.path))
        return
    buffer = bytearray(_PIECE)
    for name, entry in walk(root):
        found[ascii_only(name)] = _digest(entry.path, buffer)


def _digest(path: str, buffer: bytearray | None = None) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:  # a link to nowhere
        return hashlib.sha256(b"tlsrt: nothing there").digest()
    except OSError as error:
        raise ConfigError(f"cannot measure {path}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return hashlib.sha256(b"tlsrt: not a regular file").digest()
        return _digest_descriptor(descriptor, buffer or bytearray(_PIECE))
    finally:
        os.close(descriptor)


def _digest_descriptor(descriptor: int, buffer: bytearray) -> bytes:
    # hashlib.file_digest does the same with a Python file object around it, twice as slow on small files
    digest, view = hashlib.sha256(), memoryview(buffer)
    while count := os.readv(descriptor, [buffer]):
        digest.update(view[:count])
    return digest.digest()


def _digest_of(path: Path, what: str) -> bytes:
    return hashlib.sha256(read_bounded(path, MAX_PEM_BYTES, what)).digest()


def _certificate_names(path: Path) -> bytes:
    """Hash the issuer, subject and alternative names of the first certificate in a PEM file."""
    from cryptography import x509  # slow to import, and nothing else in this module needs it

    data = read_bounded(path, MAX_PEM_BYTES, "the server certificate")
    try:
        certificate = x509.load_pem_x509_certificate(data)
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.public_bytes()
        except x509.ExtensionNotFound:
            names = b""
        parts = (certificate.issuer.public_bytes(), certificate.subject.public_bytes(), names)
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        raise ConfigError(f"the server certificate {path} is not a PEM certificate: put a right one there") from None
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()
