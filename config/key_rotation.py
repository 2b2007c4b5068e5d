"""The files of `rotate --master`: the next master_key and the boot token for it.

Theory of operation. The boot token names the version of the key that it was made with, so one rename puts both in
force. Before it, the next token lies beside the present one as `boot.token.next`, and the next key as `master.key.N`;
neither means anything to a start. The token is written first: so a key that lies there without a token that fits it is
not a rotation that was broken off, but a file of the operator's, and is left alone. What was sealed stays sealed, and
nothing more: the next token has the entries of the present one.

The old key signs that the new issuer key follows its own, which is what clients go by.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.config import key_schedule
from tlsrt.config.audit_roots import state_roots
from tlsrt.config.boot_token import (
    HEAD_BYTES,
    MAX_TOKEN_BYTES,
    BootToken,
    check_boot_token,
    check_key_version,
    key_version_of,
    make_boot_token,
    parse_boot_token_untrusted,
)
from tlsrt.config.files import (
    as_config_error,
    move,
    open_folder,
    owner_of,
    read_bounded,
    replace,
    token_mode,
    write_new,
)
from tlsrt.config.issuer_chain import PinnedIssuer, SealRecord, lengthen, state_successor
from tlsrt.config.key_providers import check_master_key, key_path, key_paths, open_master_key, read_master_key
from tlsrt.config.schema import Config
from tlsrt.config.secrets import (
    NONCE_BYTES,
    pruned,
    read_sealings,
    resealed,
    sealed_components,
    write_sealings,
)
from tlsrt.config.tpm_keys import sealed_place
from tlsrt.errors import ConfigError

MASTER_KEY_BYTES = 32
_CREDENTIAL = (
    "master_key is the systemd credential {name}, which tlsrt cannot replace: put another key there, run "
    "`tlsrt-supervisor seal`, restart tlsrt, and give every client a new bundle"
)


@dataclass(frozen=True, slots=True)
class Staged:
    """A rotation that is ready to be put in force."""

    version: int
    key: Path
    token: Path
    roots: bytes = b""  # what the root keys of the audit log say of each other


def next_token(config: Config) -> Path:
    """Return where the boot token of a rotation lies until it is in force."""
    return config.boot_token.with_name(config.boot_token.name + ".next")


@contextmanager
def only_one(config: Config) -> Generator[None]:
    """Exclude `seal` and another rotation for the time of a block. Raises ConfigError if one runs."""
    folder = config.boot_token.parent
    with as_config_error("open", folder):
        descriptor = open_folder(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"`seal` or `rotate` works in {folder} now: wait for its end") from None
    finally:
        os.close(descriptor)


def stage(config: Config, known: SealRecord) -> Staged:
    """Write the next master_key and its boot token beside those in force, to the disk. Raises ConfigError.

    Nothing that is in force is changed. A rotation that was broken off before is replaced.
    """
    if config.master_key.provider != "file":
        raise ConfigError(_CREDENTIAL.format(name=config.master_key.name))
    token = parse_boot_token_untrusted(read_bounded(config.boot_token, MAX_TOKEN_BYTES, "the boot token"))
    check_key_version(token, known.key_version)
    present = _read_key(config, token.key_version)
    prk = key_schedule.extract(config.install_id, present)
    check_boot_token(key_schedule.boot_mac_key(prk), token, token.entries, known.seal)
    staged = Staged(token.key_version + 1, key_path(config.master_key, token.key_version + 1), next_token(config))
    if not withdraw(config, staged) and os.path.lexists(staged.key):
        raise _not_ours(staged)
    return replace_fields(staged, roots=_write(config, staged, prk, token, known))


def switch(staged: Staged, boot_token: Path) -> None:
    """Put a staged rotation in force, to last: from here on a start takes the new key. Raises ConfigError."""
    move(staged.token, boot_token)


def withdraw(config: Config, staged: Staged) -> bool:
    """Remove a rotation before it is in force; False, and no change, if it is in force by now.

    The token is put away first, by a rename: from then on it cannot be put in force. Raises ConfigError for a key that
    does not belong to it.
    """
    was_there = os.path.lexists(staged.token)
    if was_there:
        try:
            os.rename(staged.token, _withdrawn(staged))
        except FileNotFoundError:
            was_there = False
        except OSError as error:
            raise ConfigError(f"cannot remove {staged.token}: {error.strerror}") from None
    if not was_there and not os.path.lexists(_withdrawn(staged)):
        return False
    if os.path.lexists(staged.key):
        if not _belong_together(config, staged):
            raise _not_ours(staged)
        with as_config_error("remove", staged.key):
            staged.key.unlink()
    with as_config_error("remove", _withdrawn(staged)):
        _withdrawn(staged).unlink()
    return True


def remove_older(config: Config, version: int) -> list[Path]:
    """Remove the keys of versions before this one and what they sealed; return their places. Raises ConfigError."""
    for component in sealed_components(config.state_dir):
        entries = read_sealings(config.state_dir, component)
        write_sealings(config.state_dir, component, pruned(entries, version))
    present = key_path(config.master_key, version)
    removed: list[Path] = []
    for path in key_paths(config.master_key):
        if path == present:
            break
        for one in filter(os.path.lexists, (path, sealed_place(path))):
            with as_config_error("remove", one):
                one.unlink()
            removed.append(one)
    return removed


def version_in_force(config: Config) -> int:
    """Return the version of master_key that a start would take. Raises ConfigError."""
    return key_version_of(read_bounded(config.boot_token, MAX_TOKEN_BYTES, "the boot token")[:HEAD_BYTES])


def _write(config: Config, staged: Staged, old_prk: bytes, token: BootToken, known: SealRecord) -> bytes:
    old = _issuer(old_prk, token.key_version)
    new = secrets.token_bytes(MASTER_KEY_BYTES)
    prk = key_schedule.extract(config.install_id, new)
    public = _issuer(prk, staged.version).public_key().public_bytes_raw()
    statement = state_successor(config.install_id, token.key_version, PinnedIssuer(staged.version, public), old.sign)
    before = token.succession or (known.succession if known.key_version == token.key_version else ())
    made = make_boot_token(
        key_schedule.boot_mac_key(prk), max(token.seal, known.seal) + 1, token.entries, staged.version,
        lengthen(before, statement), trust=token.trust,
    )  # fmt: skip
    text = made.encode()
    check_master_key(new, text)
    replace(staged.token, text, token_mode(config.boot_token), owner_of(config.boot_token))
    _reseal(config, {token.key_version: old_prk, staged.version: prk})
    write_new(staged.key, new, 0o600, owner_of(key_path(config.master_key, token.key_version)))
    return state_roots(config.install_id, old_prk, prk)


def _reseal(config: Config, prks: Mapping[int, bytes]) -> None:
    """Seal the components' secrets by the next key too, so that both serve until one of them is in force."""
    roots = {version: key_schedule.secret_root(prk) for version, prk in prks.items()}
    for component in sealed_components(config.state_dir):
        entries = read_sealings(config.state_dir, component)
        nonces = (secrets.token_bytes(NONCE_BYTES) for _ in entries)
        write_sealings(
            config.state_dir, component, resealed(entries, config.install_id, component, roots, nonces)
        )  # fmt: skip


def _withdrawn(staged: Staged) -> Path:
    return staged.token.with_name(staged.token.name + ".off")


def _not_ours(staged: Staged) -> ConfigError:
    return ConfigError(
        f"{staged.key} exists, and no rotation that was broken off left it there: move it away, or remove it"
    )


def _belong_together(config: Config, staged: Staged) -> bool:
    try:
        key = _read_key(config, staged.version)
        token = parse_boot_token_untrusted(read_bounded(_withdrawn(staged), MAX_TOKEN_BYTES, "the boot token"))
        check_boot_token(
            key_schedule.boot_mac_key(key_schedule.extract(config.install_id, key)), token, token.entries, 0
        )
    except ConfigError:
        return False
    return token.key_version == staged.version


def _issuer(prk: bytes, version: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key_schedule.issuer_seed(prk, version))


def _read_key(config: Config, version: int) -> bytes:
    descriptor = open_master_key(config.master_key, {0, os.geteuid()}, version)
    try:
        return read_master_key(descriptor)
    finally:
        os.close(descriptor)
