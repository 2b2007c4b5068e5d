"""The authority's boot: read the master key, prove that the host is what was sealed, derive, and forget the key.

The MAC of the boot token is checked before anything else is derived. Nothing is written until everything has passed;
then epoch and boot count go up and are on the disk before they are used.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgpack

from tlsrt.config import keys
from tlsrt.config.boot import MAX_TOKEN_BYTES, BootToken, check_boot_token, parse_boot_token_untrusted
from tlsrt.config.providers import check_master_key
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.authority_state import AuthorityState, StateFile
from tlsrt.supervisor.door_files import DoorFiles, read_door_files, read_file
from tlsrt.supervisor.secret_page import SecretPage, wipe

KEY_VERSION = 1
NONCE_BYTES = 32
MEASUREMENT_MAX = 16 << 20
_ORDINARY_MEMORY = "this host gave no memfd_secret page: master_key was in ordinary memory while it booted"
_BOOT_HASH = b"tlsrt/boot-hash/v1\0"


@dataclass(frozen=True, slots=True)
class Booted:
    """What a good boot leaves behind."""

    run: bytes = field(repr=False)
    issuer_seed: bytes = field(repr=False)
    boot: bytes  # boot id
    state: AuthorityState
    door: DoorFiles
    warnings: tuple[str, ...]
    is_resumed: bool  # another authority served this boot before
    mac_key: bytes = field(default=b"", repr=False)  # of boot tokens: a reload is checked as the boot was


def boot(config: Config, nonce: bytes, descriptors: Sequence[int], store: StateFile, wall: int) -> Booted:
    """Check everything and derive the keys of this boot; raise ConfigError. Closes the descriptors.

    `descriptors`: master key, boot token, measurement, state folder, certificate, key, client CA.
    """
    master, token_file, measurement_file, _, certificate, key, client_ca = descriptors
    try:
        if len(nonce) != NONCE_BYTES:
            raise ConfigError(
                f"the boot nonce has {len(nonce)} bytes instead of {NONCE_BYTES}: start with our launcher"
            )
        token_bytes = read_file(token_file, "the boot token", MAX_TOKEN_BYTES)
        entries = _measurement(read_file(measurement_file, "the measurement", MEASUREMENT_MAX))
        state = store.load()
        token = parse_boot_token_untrusted(token_bytes)
        (run, seed, mac_key), warnings = _derive(config, nonce, master, token_bytes, token, entries, state.seal)
        door = read_door_files(certificate, key, client_ca)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    boot_hash = hashlib.sha256(_BOOT_HASH + nonce).digest()
    is_resumed = hmac.compare_digest(boot_hash, state.boot_hash)
    _advance(state, token.seal, boot_hash, is_resumed=is_resumed, wall=wall)
    save(store, state)
    return Booted(run, seed, keys.boot_id(nonce), state, door, warnings, is_resumed, mac_key)


def check_reload(
    config: Config, mac_key: bytes, descriptors: Sequence[int], minimum_seal: int
) -> tuple[int, tuple[str, ...]]:
    """Check a boot token and a measurement as a boot would; return the seal number and the warnings.

    `descriptors`: boot token, measurement; they are closed. Raises ConfigError.
    """
    token_file, measurement_file = descriptors
    try:
        token = parse_boot_token_untrusted(read_file(token_file, "the boot token", MAX_TOKEN_BYTES))
        entries = _measurement(read_file(measurement_file, "the measurement", MEASUREMENT_MAX))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return token.seal, _check(config, mac_key, token, entries, minimum_seal)


def save(store: StateFile, state: AuthorityState) -> None:
    """Write the state; raise ConfigError with a sentence for people."""
    try:
        store.save(state)
    except OSError as error:
        raise ConfigError(f"cannot write the authority's state: {error.strerror}") from None


def _advance(state: AuthorityState, seal: int, boot_hash: bytes, *, is_resumed: bool, wall: int) -> None:
    state.epoch += 1
    state.boots += 1
    state.seal = max(state.seal, seal)
    state.boot_hash = boot_hash
    if not is_resumed:  # sessions and tokens of another boot are refused by their boot id
        last = state.revocation
        state.revocations = [item for item in state.revocations if item.kind == "subject" or item.number == last]
    state.prune(wall)


def _derive(
    config: Config,
    nonce: bytes,
    master: int,
    token_bytes: bytes,
    token: BootToken,
    entries: Mapping[str, bytes],
    minimum_seal: int,
) -> tuple[tuple[bytes, bytes, bytes], tuple[str, ...]]:
    """Return run key, issuer seed and MAC key, and the warnings."""
    with SecretPage() as page, page.read_from(master) as key:
        check_master_key(key, token_bytes)
        prk = keys.extract(config.install_id, key)
        is_secret = page.is_secret
    try:
        mac_key = keys.boot_mac_key(prk)
        warnings = _check(config, mac_key, token, entries, minimum_seal)
        if not is_secret:
            warnings = (*warnings, _ORDINARY_MEMORY)
        return (keys.run_key(prk, nonce), keys.issuer_seed(prk, KEY_VERSION), mac_key), warnings
    finally:
        wipe(prk)


def _check(
    config: Config, mac_key: bytes, token: BootToken, entries: Mapping[str, bytes], minimum_seal: int
) -> tuple[str, ...]:
    # Against itself first: this leaves only the MAC and the seal number to be refused, which no mode forgives.
    check_boot_token(mac_key, token, token.entries, minimum_seal)
    try:
        check_boot_token(mac_key, token, entries, minimum_seal)
    except ConfigError as error:
        if config.measure != "warn":
            raise
        return error.problems
    return ()


def _measurement(data: bytes) -> dict[str, bytes]:
    try:
        entries = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except Exception as error:  # msgpack raises half a dozen classes
        raise ConfigError("the measurement of this host does not read: start again") from error
    if not isinstance(entries, dict) or not all(type(k) is str and type(v) is bytes for k, v in entries.items()):
        raise ConfigError("the measurement of this host does not read: start again")
    return entries
