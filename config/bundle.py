"""The client bundle: one file (0600) with all that a client needs to reach a host."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tlsrt.config.files import as_config_error, open_regular, owner_of, replace, write_new
from tlsrt.config.issuer_chain import VERSION_MAX, PinnedIssuer
from tlsrt.errors import ConfigError

VERSION = 1
MAX_BUNDLE_BYTES = 1 << 18
MAX_REQUEST_BYTES = 2048  # of a certificate signing request; ours have 220
_TEXTS = ("name", "host", "server_name", "ca", "certificate", "key")
_KEYS = {"tlsrt_bundle", "install", "port", "issuer", *_TEXTS}
_VERSION_KEY = "issuer_version"  # left out for 1


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a client needs: where the host is, its own certificate and key, the trusted issuer.

    `install_id` is 16 bytes, `issuer_public` the raw Ed25519 key (32 bytes) that signs tokens and grants.
    `issuer_version` is the version of that key; a client that follows a rotation of it renews both.
    """

    version: int
    install_id: bytes
    name: str
    host: str
    port: int
    server_name: str
    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    issuer_public: bytes
    issuer_version: int = 1

    @property
    def issuer(self) -> PinnedIssuer:
        return PinnedIssuer(self.issuer_version, self.issuer_public)


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write a bundle to a new file of mode 0600. Raises ConfigError, also when the file exists."""
    write_new(path, encode_bundle(bundle), 0o600)


def read_bundle(path: Path) -> Bundle:
    """Return the bundle in `path`. Raises ConfigError, also when group or others may read or write it."""
    if not os.path.lexists(path):
        raise ConfigError(
            f"there is no client bundle at {path}: copy the bundle there, or make one with `tlsrt enroll`"
        )
    descriptor = open_regular(path, "the client bundle")
    try:
        status = os.fstat(descriptor)
        with as_config_error("read", path):
            data = os.pread(descriptor, MAX_BUNDLE_BYTES + 1, 0)
    finally:
        os.close(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(f"the client bundle {path} has mode {mode:04o} and holds a private key: chmod 0600 it")
    if status.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        raise ConfigError(f"the client bundle {path} belongs to uid {status.st_uid}: use one of your own")
    return parse_bundle_untrusted(data, str(path))


def follow_issuer(path: Path, install_id: bytes, issuer: PinnedIssuer) -> None:
    """Replace the issuer key in a bundle's file by the one that follows it, to last and at once.

    A file that has this one or a later one already, or is of another install by now, is left alone. Who owns it does
    not change. Raises ConfigError, also when the file or its folder may not be written.
    """
    real = Path(os.path.realpath(path))
    bundle = read_bundle(real)
    if bundle.install_id != install_id or bundle.issuer_version >= issuer.version:
        return
    status = os.stat(real)
    if not status.st_mode & stat.S_IWUSR:
        raise ConfigError(f"cannot write {real}: its mode is {stat.S_IMODE(status.st_mode):04o}")
    renewed = dataclasses.replace(bundle, issuer_public=issuer.key, issuer_version=issuer.version)
    replace(real, encode_bundle(renewed), 0o600, owner_of(real))


def can_follow(path: Path) -> bool:
    """Tell whether the bundle in a file could be replaced by one with another certificate."""
    real = Path(os.path.realpath(path))
    return os.access(real, os.W_OK) and os.access(real.parent, os.W_OK)


def follow_certificate(path: Path, old: bytes, certificate_pem: bytes, key_pem: bytes) -> bool:
    """Replace certificate and key in a bundle's file, to last; False if it has others than the old.

    Raises ConfigError, also when the file or its folder may not be written.
    """
    real = Path(os.path.realpath(path))
    bundle = read_bundle(real)
    if bundle.certificate_pem != old:
        return False
    renewed = dataclasses.replace(bundle, certificate_pem=certificate_pem, key_pem=key_pem)
    replace(real, encode_bundle(renewed), 0o600, owner_of(real))
    return True


def encode_bundle(bundle: Bundle) -> bytes:
    """Return the JSON text of a bundle."""
    tree = {
        "tlsrt_bundle": bundle.version,
        "install": bundle.install_id.hex(),
        "name": bundle.name,
        "host": bundle.host,
        "port": bundle.port,
        "server_name": bundle.server_name,
        "issuer": bundle.issuer_public.hex(),
        "ca": bundle.ca_pem.decode("ascii"),
        "certificate": bundle.certificate_pem.decode("ascii"),
        "key": bundle.key_pem.decode("ascii"),
    }
    if bundle.issuer_version != 1:
        tree[_VERSION_KEY] = bundle.issuer_version
    return json.dumps(tree, indent=1).encode() + b"\n"


def parse_bundle_untrusted(data: bytes, where: str) -> Bundle:
    """Return the bundle in `data`, a file called `where`. Raises ConfigError for anything else."""
    tree = _tree(data, where)
    version = tree["tlsrt_bundle"]
    if type(version) is not int or version != VERSION:
        raise ConfigError(f"{where} is a bundle of another version than {VERSION}: get a new one from the host")
    issuer_version = tree.pop(_VERSION_KEY, 1)
    if type(issuer_version) is not int or not 0 < issuer_version <= VERSION_MAX:
        _refuse_damaged(where)
    if tree.keys() != _KEYS or not all(isinstance(tree[key], str) and tree[key].isascii() for key in _TEXTS):
        _refuse_damaged(where)
    port = tree["port"]
    if type(port) is not int or not 0 <= port <= 65535:
        _refuse_damaged(where)
    return Bundle(
        version=VERSION,
        install_id=_hex(tree["install"], 16, where),
        name=tree["name"],
        host=tree["host"],
        port=port,
        server_name=tree["server_name"],
        ca_pem=tree["ca"].encode(),
        certificate_pem=tree["certificate"].encode(),
        key_pem=tree["key"].encode(),
        issuer_public=_hex(tree["issuer"], 32, where),
        issuer_version=issuer_version,
    )


def _tree(data: bytes, where: str) -> dict[str, Any]:
    try:
        tree = json.loads(data) if len(data) <= MAX_BUNDLE_BYTES else None
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict) or "tlsrt_bundle" not in tree:
        raise ConfigError(f"{where} is not a tlsrt client bundle, or is damaged: copy it again from the host")
    return tree


def _hex(value: object, size: int, where: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value):
        _refuse_damaged(where)
    return bytes.fromhex(value)


def _refuse_damaged(where: str) -> NoReturn:
    raise ConfigError(f"the client bundle {where} is damaged: copy it again from the host")
