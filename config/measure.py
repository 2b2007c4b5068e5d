"""The measurement of a host: a name and a SHA-256 for everything that decides what it does.

Names: `tlsrt/...` and `dep/PACKAGE/...` for each file of the code, `component/PACKAGE/...` for the operator's,
`program/...` for the files of programs, `python/...` for the standard library and the interpreter, `site/...` for what
runs in every Python of the environment, `version/DISTRIBUTION/VERSION/NAME` for what names of packages are of,
`bytecode` for all byte code of this host, `config`, `config.d/...` for each drop-in of the configuration,
`environment/...` for each variable that it lists, `drop-in/...` for each file of an added component, `client-ca`, and
`certificate-names` (issuer and names only, so that a renewed certificate still boots). No key is read.
What is no regular file gets the digest of its kind, so that a new one shows. A `__pycache__` is not looked at, as
nothing is read from it: to install the same packages again changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tlsrt.config.code_permissions import unreadable_for_others, writable_by
from tlsrt.config.code_root import Root, walk
from tlsrt.config.document import read_files
from tlsrt.config.files import as_config_error, read_bounded
from tlsrt.config.import_path import bytecode_folder, is_checkout
from tlsrt.config.package_search import component_roots
from tlsrt.config.packages import Code, code_of, code_roots
from tlsrt.config.program_files import measured_name
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.text import ascii_only

__all__ = [
    "code_roots", "component_roots", "measure", "measure_bytecode",
    "measured_paths", "unreadable_for_others", "writable_by",
]  # fmt: skip

MAX_PEM_BYTES = 1 << 20
_PIECE = 1 << 18
_LARGE = 4 << 20


def measure(config: Config, code: Code | None = None) -> dict[str, bytes]:
    """Return the SHA-256 of everything measured, by name. Raises ConfigError when something cannot be read.

    `code` is what `code_of` has found already.
    """
    code = code if code is not None else code_of(config)
    found: dict[str, bytes] = {}
    with _Hashing(found) as hashing:
        for root in code.roots:
            with as_config_error("measure", root.path):
                _measure_root(root, hashing)
    with _Hashing(found) as hashing:
        for path in sorted({path for one in code.programs.values() for path in one.identities}):
            hashing.add(measured_name(path), path)
    for version in code.versions:
        name = f"version/{version.distribution}/{version.version}/{version.prefix}"
        found[ascii_only(name)] = hashlib.sha256(version.metadata).digest()
    if (cached := measure_bytecode(config)) is not None:
        found["bytecode"] = cached
    found |= read_files(config.path).digests(config.variables)
    found["client-ca"] = _digest_of(config.door.client_ca, "the client CA")
    found["certificate-names"] = _certificate_names(config.door.certificate)
    return found


def measure_bytecode(config: Config) -> bytes | None:
    """Return the digest of all byte code of this host, None if there is none. Raises ConfigError."""
    folder = bytecode_folder(config.path)
    if is_checkout() or not folder.is_dir():
        return None
    found: dict[str, bytes] = {}
    with as_config_error("measure", folder), _Hashing(found) as hashing:
        _measure_root(Root(folder, "bytecode"), hashing)
    lines = [f"{digest.hex()} {name}\n" for name, digest in sorted(found.items())]
    return hashlib.sha256("".join(lines).encode()).digest() if lines else None


def measured_paths(code: Code) -> list[Path]:
    """Return the folders and files of measured code, with those that a checkout links to."""
    paths = [root.path for root in code.roots]
    package = paths[0]
    rooms = [entry.resolve() for entry in sorted(package.iterdir()) if entry.is_symlink() and entry.is_dir()]
    return [*paths, *rooms, *(Path(path) for one in code.programs.values() for path in one.identities)]


def _measure_root(root: Root, hashing: _Hashing) -> None:
    if not root.path.is_dir():
        hashing.add(root.name, str(root.path))
        return
    for name, entry in walk(root):
        hashing.add(name, entry.path)


class _Hashing:
    """Hashes files: small ones at once, as the interpreter can do one at a time; large ones on every processor."""

    def __init__(self, found: dict[str, bytes]) -> None:
        self._found = found
        self._buffer = bytearray(_PIECE)
        self._large: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def add(self, name: str, path: str) -> None:
        """Hash a file, now or at the end. Raises ConfigError."""
        digest = _digest(path, self._buffer, _LARGE)
        if digest is None:
            self._large.append((ascii_only(name), path))
        else:
            self._found[ascii_only(name)] = digest

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None and self._large:
            names, paths = zip(*self._large, strict=True)
            self._found.update(zip(names, _whole_files(paths), strict=True))


def _whole_files(paths: Sequence[str]) -> list[bytes]:
    """Return the digests of large files, by threads where this host gives some. Raises ConfigError."""
    from concurrent.futures import ThreadPoolExecutor

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(_whole, paths))
    except RuntimeError:  # can't start new thread: a limit of tasks is reached
        return [_whole(path) for path in paths]


def _whole(path: str) -> bytes:
    digest = _digest(path, bytearray(_PIECE))
    assert digest is not None
    return digest


def _digest(path: str, buffer: bytearray, most: int = sys.maxsize) -> bytes | None:
    """Return the digest of a file; None for one of more than `most` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:  # a link to nowhere
        return hashlib.sha256(b"tlsrt: nothing there").digest()
    except OSError as error:
        raise ConfigError(f"cannot measure {path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return hashlib.sha256(b"tlsrt: not a regular file").digest()
        return None if status.st_size > most else _digest_descriptor(descriptor, buffer)
    except OSError as error:
        raise ConfigError(f"cannot measure {path}: {error.strerror}") from None
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
