"""A release manifest: the files of one version of a package, by their SHA-256, signed by who publishes it. Pure.

    tlsrt-release 1
    package tlsrt
    version 0.2.0
    expires 2028-11-28
    key HEX                 the publisher's public key, Ed25519
    signature HEX
    HEXDIGEST PATH          one line per file of the wheel, sorted by path

The signature is over `tlsrt/release/v1\\0` and every line but its own. There is exactly one text for a manifest. It
lies in the wheel's folder of metadata as RELEASE, or beside the wheel.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NoReturn

from tlsrt.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAME = "RELEASE"  # of the manifest in a folder of metadata
MAX_RELEASE_BYTES = 8 << 20
PACKAGE = "[a-z0-9]+(?:-[a-z0-9]+)*"  # as normalized by PEP 503
VERSION = "[0-9A-Za-z][0-9A-Za-z.+!_-]{0,63}"
KEY = "[0-9a-f]{64}"
_HEAD = b"tlsrt-release 1\n"
_DOMAIN = b"tlsrt/release/v1\0"
_LINES = {
    "package": f"({PACKAGE})",
    "version": f"({VERSION})",
    "expires": "([0-9]{4}-[0-9]{2}-[0-9]{2})",
    "key": f"({KEY})",
    "signature": "([0-9a-f]{128})",
}
_PATH = re.compile(r"[!-~][ -~]{0,4095}")
_FILE = re.compile(rf"([0-9a-f]{{64}}) ({_PATH.pattern})")


@dataclass(frozen=True, slots=True)
class Release:
    """One version of a package, as its publisher says."""

    package: str
    version: str
    expires: str  # a day, YYYY-MM-DD
    key: bytes
    files: Mapping[str, bytes]  # path in the wheel -> SHA-256
    signature: bytes = b""

    def encode(self) -> bytes:
        """Return the text of the manifest."""
        return _HEAD + self._head() + f"signature {self.signature.hex()}\n".encode() + self._files()

    def signed(self) -> bytes:
        """Return what the signature is over."""
        return _DOMAIN + _HEAD + self._head() + self._files()

    def _head(self) -> bytes:
        lines = (
            f"package {self.package}", f"version {self.version}", f"expires {self.expires}", f"key {self.key.hex()}"
        )  # fmt: skip
        return "".join(f"{line}\n" for line in lines).encode("ascii")

    def _files(self) -> bytes:
        return "".join(f"{digest.hex()} {path}\n" for path, digest in sorted(self.files.items())).encode("ascii")


def sign_release(
    private: Ed25519PrivateKey, package: str, version: str, expires: str, files: Mapping[str, bytes]
) -> Release:
    """Return the signed manifest. Raises ConfigError for what no manifest can say."""
    key = private.public_key().public_bytes_raw()
    for path in files:
        if not _PATH.fullmatch(path):
            raise ConfigError(f"cannot sign {package} {version}: the path {path!r} has other characters than ASCII's")
    made = Release(package, version, expires, key, dict(sorted(files.items())))
    made = Release(package, version, expires, key, made.files, private.sign(made.signed()))
    parse_release_untrusted(made.encode())  # what cannot be read is not signed
    return made


def parse_release_untrusted(data: bytes) -> Release:
    """Return the manifest in `data`, whose signature is not yet checked. Raises ConfigError for anything else."""
    if len(data) > MAX_RELEASE_BYTES:
        _refuse(f"it is larger than {MAX_RELEASE_BYTES} bytes")
    if not data.startswith(_HEAD):
        _refuse("its first line is not `tlsrt-release 1`")
    if not data.endswith(b"\n"):
        _refuse("its last line is cut off")
    try:
        lines = data[len(_HEAD) : -1].decode("ascii").split("\n")
    except UnicodeDecodeError:
        _refuse("it has other characters than ASCII's")
    if len(lines) <= len(_LINES):
        _refuse("its head is cut off, or it has no file")
    found: dict[str, str] = {}
    for line, (name, pattern) in zip(lines, _LINES.items(), strict=False):
        match = re.fullmatch(f"{name} {pattern}", line)
        if match is None:
            _refuse(f"the line `{name}` is not readable")
        found[name] = match[1]
    try:
        date.fromisoformat(found["expires"])
    except ValueError:
        _refuse("the line `expires` is no day")
    return Release(
        found["package"], found["version"], found["expires"], bytes.fromhex(found["key"]),
        _files_of(lines[len(_LINES) :]), bytes.fromhex(found["signature"]),
    )  # fmt: skip


def _files_of(lines: list[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    last = ""
    for line in lines:
        match = _FILE.fullmatch(line)
        if match is None or match[2] <= last:
            _refuse(f"the line of the file behind {last or 'its head'} is not readable, or out of order")
        last = match[2]
        files[last] = bytes.fromhex(match[1])
    return files


def check_release(release: Release, publishers: Collection[bytes], package: str, version: str, today: date) -> None:
    """Refuse a manifest of another publisher, package or version, and one that has expired. Raises ConfigError.

    The signature is checked first, so that a sentence never repeats what a stranger has written.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if release.key not in publishers:
        raise ConfigError(
            f"the manifest is signed by the key {release.key.hex()}, which is not pinned for {package}: get the "
            "release from its publisher, or pin that key if it is their new one"
        )
    try:
        Ed25519PublicKey.from_public_bytes(release.key).verify(release.signature, release.signed())
    except (InvalidSignature, ValueError):
        raise ConfigError("the signature of the manifest does not fit: it was changed after it was signed") from None
    if release.package != package:
        raise ConfigError(f"the manifest is of {release.package}, not of {package}")
    if release.version != version:
        raise ConfigError(f"the manifest is of {package} {release.version}, not of {version}")
    if date.fromisoformat(release.expires) < today:
        raise ConfigError(
            f"the manifest of {package} {version} has expired on {release.expires}: get a newer release, or look "
            "whether the clock of this host is right"
        )


def differences(release: Release, found: Mapping[str, bytes], tops: Collection[str]) -> list[str]:
    """Return what is not as the manifest says, of files below `tops`: `changed PATH`, `new PATH`, `missing PATH`."""
    said = {path: digest for path, digest in release.files.items() if path.partition("/")[0] in tops}
    words = [
        *(f"changed {path}" for path in found.keys() & said.keys() if found[path] != said[path]),
        *(f"new {path}" for path in found.keys() - said.keys()),
        *(f"missing {path}" for path in said.keys() - found.keys()),
    ]
    return sorted(words)


def _refuse(why: str) -> NoReturn:
    raise ConfigError(f"the release manifest is damaged, {why}: get it from the publisher again")
