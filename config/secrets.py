"""Secrets of components: sealed on the disk, opened by the component's own process and by nothing else.

Theory of operation. `STATE_DIR/secrets/LOOP.NAME` holds what an operator has set for one component, each value sealed
by a key that is derived from master_key for this component. Supervisor and files hold no key. A process takes the
sealed values along at its birth, and opens them with the key that the authority gives it once it is attested. Of two
versions of master_key, while one follows the other, there is a sealing by each.

AES-256-GCM (RFC 5116), with 12 random bytes as nonce; installation, component, name and version are bound to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.config import key_schedule
from tlsrt.config.files import Owner, as_config_error, create_in, open_folder, owner_of, read_bounded, rename_in
from tlsrt.config.setting import NAME
from tlsrt.errors import ConfigError

FOLDER = "secrets"
VALUE_MAX = 4096  # bytes
FILE_MAX = 1 << 20
NAMES_MAX = 32
NONCE_BYTES = 12
_FORMAT = 1
_LABEL = b"tlsrt/secret/v1"


@dataclass(frozen=True, slots=True)
class SecretId:
    """Which secret, of which component of which installation, sealed by which version of master_key."""

    install_id: bytes
    component: str
    name: str
    version: int

    def bound(self) -> bytes:
        """Return what a sealing is bound to: every field with its length."""
        fields = (_LABEL, self.install_id, self.component.encode(), self.name.encode(), self.version.to_bytes(8, "big"))
        return b"".join(len(one).to_bytes(2, "big") + one for one in fields)


def seal_secret(key: bytes, which: SecretId, value: bytes, nonce: bytes) -> bytes:
    """Return a value sealed by the key of its component: nonce and ciphertext."""
    return nonce + AESGCM(key).encrypt(nonce, value, which.bound())


def open_secret(key: bytes, which: SecretId, sealed: bytes) -> bytes:
    """Return the value. Raises ConfigError for what this key has not sealed as this secret."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], which.bound())
    except (InvalidTag, ValueError):
        raise ConfigError(
            f"the secret {which.name} of {which.component} is damaged: set it again with "
            f"`tlsrt-supervisor secret set {which.component} {which.name}`, or remove it by `secret remove`"
        ) from None


Sealings = Mapping[str, Mapping[int, bytes]]  # name -> version of master_key -> sealed value


def secret_file(state_dir: Path, component: str) -> Path:
    """Return where the secrets of a component lie."""
    return state_dir / FOLDER / component.replace("/", ".")


def read_sealings(state_dir: Path, component: str) -> Sealings:
    """Return what is set for a component; nothing if there is no file. Raises ConfigError."""
    path = secret_file(state_dir, component)
    with as_config_error("read", path):
        try:
            folder = open_folder(path.parent, follow=False)  # the state may be another user's, and this root's
        except FileNotFoundError:
            return {}
        try:
            os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            data = read_bounded(path, FILE_MAX, "the secrets", follow=False, within=folder)
        except FileNotFoundError:
            return {}
        finally:
            os.close(folder)
    return parse_sealings(data, path)


def parse_sealings(data: bytes, path: Path) -> Sealings:
    """Return what a file says. Raises ConfigError for one that is none of ours."""
    try:
        tree: Any = msgpack.unpackb(data, raw=False, strict_map_key=False)
        number, entries = tree
        is_good = (
            number == _FORMAT
            and len(entries) <= NAMES_MAX
            and all(
                re.fullmatch(NAME, name)
                and all(type(one) is int and type(each) is bytes for one, each in found.items())
                for name, found in entries.items()
            )
        )
    except Exception:  # msgpack raises half a dozen classes
        is_good = False
    if not is_good:
        raise ConfigError(f"cannot use {path}: it is damaged; remove it, and set the secrets of this component again")
    found: Sealings = entries
    return found


def write_sealings(state_dir: Path, component: str, entries: Sealings) -> None:
    """Write what is set for a component, to the disk; nothing is left of an empty one. Raises ConfigError."""
    path = secret_file(state_dir, component)
    if len(entries) > NAMES_MAX:
        raise ConfigError(f"{component} has {NAMES_MAX} secrets: remove one that it does not ask for any more")
    with as_config_error("make the folder", path.parent):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        folder = open_folder(path.parent, follow=False)  # the state may be another user's, and this root's
    try:
        with as_config_error("write" if entries else "remove", path):
            os.fchown(folder, *owner_of(state_dir))
            if entries:
                plain = {name: dict(found) for name, found in entries.items()}
                _replace_in(folder, path.name, msgpack.packb([_FORMAT, plain]), owner_of(state_dir))
                return
            with suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=folder)
            os.fsync(folder)
    finally:
        os.close(folder)


def _replace_in(folder: int, name: str, data: bytes, owner: Owner) -> None:
    beside = f".{name}.{os.getpid()}-{os.urandom(4).hex()}.new"
    descriptor = create_in(folder, beside, data)
    try:
        os.fchown(descriptor, *owner)
        os.fsync(descriptor)
        rename_in(folder, beside, name)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)


def sealed_components(state_dir: Path) -> list[str]:
    """Return the components that have secrets. Raises ConfigError."""
    with as_config_error("read", state_dir / FOLDER):
        try:
            folder = open_folder(state_dir / FOLDER, follow=False)
        except FileNotFoundError:
            return []
        try:
            names = sorted(os.listdir(folder))
        finally:
            os.close(folder)
    return [name.replace(".", "/", 1) for name in names if re.fullmatch(rf"{NAME}\.{NAME}", name)]


def resealed(
    entries: Sealings, install_id: bytes, component: str, roots: Mapping[int, bytes], nonces: Iterable[bytes]
) -> Sealings:
    """Return the same secrets, sealed by the newest of these versions too. Raises ConfigError for a damaged one.

    `roots` are those of the older version and of the newer one.
    """
    old, new = sorted(roots)
    source = iter(nonces)
    found: dict[str, Mapping[int, bytes]] = {}
    for name, sealings in entries.items():
        if old not in sealings:
            raise ConfigError(
                f"the secret {name} of {component} is not sealed by the master_key in force: set it again, or remove it"
            )
        before, after = (SecretId(install_id, component, name, version) for version in (old, new))
        value = open_secret(key_schedule.secret_key(roots[old], component), before, sealings[old])
        sealed = seal_secret(key_schedule.secret_key(roots[new], component), after, value, next(source))
        found[name] = {old: sealings[old], new: sealed}
    return found


def pruned(entries: Sealings, version: int) -> Sealings:
    """Return the sealings of one version only."""
    return {name: {version: found[version]} for name, found in entries.items() if version in found}
