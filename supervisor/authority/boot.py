"""The boot: reads master_key, checks the host against its seal, derives, and wipes the key.

The MAC of the boot token is checked before anything else is derived. Nothing is written until everything has passed;
then epoch and boot count go up and are persisted before they are used.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.config import key_schedule
from tlsrt.config.boot_token import (
    MAX_TOKEN_BYTES,
    BootToken,
    check_boot_token,
    check_key_version,
    parse_boot_token_untrusted,
)
from tlsrt.config.canaries import CanaryHashes, canary_hashes
from tlsrt.config.issuer_chain import PinnedIssuer
from tlsrt.config.key_providers import check_master_key
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.audit.files import AuditFolder
from tlsrt.supervisor.audit.vouch import StateSummary, last_vouch
from tlsrt.supervisor.authority.clients.ca import CaKey, read_ca_key
from tlsrt.supervisor.authority.door.files import DoorFiles, read_door_files, read_file
from tlsrt.supervisor.authority.model.state import STATE_NAME, AuthorityState, StateFile, write_state
from tlsrt.supervisor.process.secret_memory import SecretMemory, wipe

MEASUREMENT_MAX = 16 << 20
_ORDINARY_MEMORY = "this host gave no memfd_secret page: master_key was in ordinary memory while it booted"
_NO_SUCCESSION = (
    "no statement says that the issuer key of this master_key follows an older one: clients that pin an older one need "
    "a new bundle"
)
NO_CANARIES = CanaryHashes()
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
    key_version: int = 1  # of master_key
    ca_key: CaKey | None = None  # that clients are enrolled with
    audit_root: bytes = field(default=b"", repr=False)  # of the audit log's keys: wiped when that is open
    canaries: CanaryHashes = NO_CANARIES
    secrets: bytes = field(default=b"", repr=False)  # root of the components' secrets


@dataclass(frozen=True, slots=True)
class Derived:
    """What is made from one master_key, whose boot token has been checked."""

    run: bytes = field(repr=False)
    issuer_seed: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    audit_root: bytes = field(repr=False)
    secrets: bytes = field(repr=False)
    token: BootToken
    warnings: tuple[str, ...]
    canaries: CanaryHashes


def boot(
    config: Config, nonce: bytes, descriptors: Sequence[int], store: StateFile, wall: int,
    audit: AuditFolder | None = None,
) -> Booted:  # fmt: skip
    """Check everything and derive the keys of this boot; raise ConfigError. Closes the descriptors.

    `audit` is the folder of the audit log, if there is one, which knows how new the state has to be.

    `descriptors`: master key, boot token, measurement, state folder, certificate, key, client CA, revocation lists, the
    client CA's key.
    """
    master, token_file, measurement_file, _, *door_files, ca_key_file = descriptors
    try:
        token_bytes = read_file(token_file, "the boot token", MAX_TOKEN_BYTES)
        entries = measurement_of(read_file(measurement_file, "the measurement", MEASUREMENT_MAX))
        state = store.load()
        derived = derive(config, nonce, master, token_bytes, entries, state)
        door = read_door_files(*door_files)
        ca_key = read_ca_key(ca_key_file, door.authorities)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    boot_hash = hashlib.sha256(_BOOT_HASH + nonce).digest()
    is_resumed = hmac.compare_digest(boot_hash, state.boot_hash)
    older = accept_older_state(state, audit, derived.token.older_state)
    _advance(state, derived.token, boot_hash, is_resumed=is_resumed, wall=wall)
    warnings = (*derived.warnings, *older, *_keep_succession(state, derived), *door.warnings(wall))
    write_state(store, state)
    return Booted(
        derived.run, derived.issuer_seed, key_schedule.boot_id(nonce), state, door, warnings, is_resumed,
        derived.mac_key,
        derived.token.key_version, ca_key, derived.audit_root, derived.canaries, derived.secrets,
    )  # fmt: skip


def check_reload(
    config: Config, mac_key: bytes, descriptors: Sequence[int], state: AuthorityState
) -> tuple[int, tuple[str, ...]]:
    """Check a boot token and a measurement as a boot would. Return the seal number and the warnings.

    `descriptors`: boot token, measurement; they are closed. Raises ConfigError.
    """
    token_file, measurement_file = descriptors
    try:
        token = parse_boot_token_untrusted(read_file(token_file, "the boot token", MAX_TOKEN_BYTES))
        entries = measurement_of(read_file(measurement_file, "the measurement", MEASUREMENT_MAX))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    check_key_version(token, state.key_version)
    if token.key_version > state.key_version:
        raise ConfigError(
            f"the boot token belongs to master_key version {token.key_version}, and this host runs version "
            f"{state.key_version}: restart it to take the new key"
        )
    return token.seal, _check(config, mac_key, token, entries, state.seal)


def issuer_public(seed: bytes) -> bytes:
    """Return the public half of keys.issuer_seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def known_of(audit: AuditFolder) -> StateSummary | None:
    """Return the state that the audit log knows; None if there is no log. Raises OSError."""
    names = audit.names()
    if not names:
        return None
    return last_vouch(audit.read(name) for name in reversed(names)) or StateSummary()


def accept_older_state(state: AuthorityState, audit: AuditFolder | None, accepted: int) -> list[str]:
    """Refuse a state that is older than the audit log, or missing beside one, unless the operator has accepted it.

    An accepted one takes the log's numbers, so that no epoch and no life comes twice, and the next boot needs no more.
    Return what is to be said of that.
    """
    try:
        known = known_of(audit) if audit is not None else None
    except OSError as error:
        raise ConfigError(f"cannot read the audit log: {error.strerror}: make its files readable") from None
    is_missing = state.boots == 0 and known is not None
    needed = max(known.state, int(is_missing)) if known is not None else 0
    if known is None or state.number >= needed:
        return []
    found = "is missing" if is_missing else f"is older than the audit log: it is {state.summary()}"
    if accepted < needed:
        raise ConfigError(
            f"the authority's state {STATE_NAME} {found}, and the log knows {known}. Revocations, locks and clients of "
            "the time between would be forgotten: put the newest state back; if there is none, run `tlsrt-supervisor "
            "seal --accept-older-state`, start, and repeat what `tlsrt-supervisor audit tail` shows was done since"
        )
    state.number, state.epoch = known.state, max(state.epoch, known.epoch)
    state.boots, state.revocation = max(state.boots, known.life), max(state.revocation, known.revocation)
    locked = "; the host was locked, and is not now" if known.locked and state.lock is None else ""
    return [f"the authority's state {found}, and was accepted: the log knows {known}{locked}"]


def _advance(state: AuthorityState, token: BootToken, boot_hash: bytes, *, is_resumed: bool, wall: int) -> None:
    state.number += 1
    state.epoch += 1
    state.boots += 1
    state.seal = max(state.seal, token.seal)
    state.key_version = token.key_version
    state.boot_hash = boot_hash
    if not is_resumed:  # sessions and tokens of another boot are refused by their boot id
        last = state.revocation
        state.revocations = [item for item in state.revocations if item.kind == "subject" or item.number == last]
    state.prune(wall)


def _keep_succession(state: AuthorityState, derived: Derived) -> list[str]:
    """Keep the statements that lead to the issuer key of this boot: the token has them, or the state. Else say so."""
    now = PinnedIssuer(state.key_version, issuer_public(derived.issuer_seed))
    for chain in (derived.token.succession, state.succession):
        if chain and chain[-1].new == now:
            state.succession = chain
            return []
    state.succession = ()
    return [_NO_SUCCESSION] if now.version > 1 else []


def derive(
    config: Config,
    nonce: bytes,
    master: int,
    token_bytes: bytes,
    entries: Mapping[str, bytes],
    state: AuthorityState,
) -> Derived:
    """Check a key, its boot token and the host, and return what is made from the key. Raises ConfigError."""
    token = parse_boot_token_untrusted(token_bytes)
    check_key_version(token, state.key_version)
    with SecretMemory() as page, page.read_from(master) as key:
        check_master_key(key, token_bytes)
        prk = key_schedule.extract(config.install_id, key)
        is_secret = page.is_secret
    try:
        mac_key = key_schedule.boot_mac_key(prk)
        warnings = _check(config, mac_key, token, entries, state.seal)
        if not is_secret:
            warnings = (*warnings, _ORDINARY_MEMORY)
        seed = key_schedule.issuer_seed(prk, token.key_version)
        root = key_schedule.canary_root(prk)
        canaries = canary_hashes(root)
        wipe(root)
        return Derived(
            key_schedule.run_key(prk, nonce), seed, mac_key, key_schedule.audit_root(prk),
            key_schedule.secret_root(prk), token, warnings, canaries,
        )  # fmt: skip
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


def measurement_of(data: bytes) -> dict[str, bytes]:
    try:
        entries = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except Exception as error:  # msgpack raises half a dozen classes
        raise ConfigError("the measurement of this host does not read: start again") from error
    if not isinstance(entries, dict) or not all(type(k) is str and type(v) is bytes for k, v in entries.items()):
        raise ConfigError("the measurement of this host does not read: start again")
    return entries
