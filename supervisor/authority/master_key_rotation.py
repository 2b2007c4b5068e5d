"""Master key rotation: another master_key, checked as at a boot, and held until it is used.

The supervisor hands over the next key, its boot token and the measurement of this boot. What is made from the key
waits here; nothing else changes, and what was checked before is forgotten. Once the boot token is in its place on the
disk the supervisor says `rotate`, and from then on only the new key exists: an authority that comes again boots with
it.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tlsrt.config.boot_token import MAX_TOKEN_BYTES
from tlsrt.config.issuer_chain import Chain, PinnedIssuer, follow_untrusted
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, PeerError
from tlsrt.supervisor.audit.open import public_of
from tlsrt.supervisor.authority.boot import MEASUREMENT_MAX, Derived, derive, measurement_of
from tlsrt.supervisor.authority.door.files import read_file
from tlsrt.supervisor.authority.keys.issuer import Issuer
from tlsrt.supervisor.authority.keys.key_ring import EpochKeySet, KeyRing
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.process.secret_memory import wipe


@dataclass(frozen=True, slots=True)
class NewKeys:
    """What a checked master_key brings into the next epoch, and into the state with it."""

    keys: EpochKeySet
    mac_key: bytes = field(repr=False)
    seal: int
    succession: Chain
    audit_public: bytes  # root key of the audit log from its next life on


class MasterKeyRotation:
    """Checks another master_key; the one that was checked last is held under its number."""

    def __init__(
        self, config: Config, nonce: bytes, ring: KeyRing, state: AuthorityState, randomness: Callable[[int], bytes]
    ) -> None:
        self._config = config
        self._nonce = nonce
        self._ring = ring
        self._state = state
        self._randomness = randomness
        self._held: tuple[int, NewKeys] | None = None

    def check(self, number: int, descriptors: Sequence[int], *, overlap_ms: int) -> tuple[str, ...]:
        """Check what the supervisor handed over, and hold what is made from it; return the warnings.

        `descriptors`: master key, boot token, measurement; they are closed. `overlap_ms` is for how long the version
        before still verifies. Raises ConfigError, and then nothing is held.
        """
        self._forget()
        try:
            master, token_file, measurement_file = descriptors
            token_bytes = read_file(token_file, "the boot token", MAX_TOKEN_BYTES)
            entries = measurement_of(read_file(measurement_file, "the measurement", MEASUREMENT_MAX))
            present = self._ring.newest.issuer
            if overlap_ms > 0:
                raise ConfigError(
                    f"master_key version {present.key_version - 1} still verifies for {-(-overlap_ms // 1000)} s, and "
                    "at most one older version may: wait for that, or run `tlsrt-supervisor rotate` first, which "
                    "leaves it 5 s"
                )
            derived = derive(self._config, self._nonce, master, token_bytes, entries, self._state)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._held = number, self._new_keys(derived)
        return derived.warnings

    def take(self, number: int) -> NewKeys | None:
        """Give up what is held, if it was checked under this number."""
        if self._held is None or self._held[0] != number:
            self._forget()
            return None
        keys, self._held = self._held[1], None
        return keys

    def _forget(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            wipe(held[1].keys.run)
            wipe(held[1].keys.secrets)
            wipe(held[1].mac_key)

    def _new_keys(self, derived: Derived) -> NewKeys:
        present, token = self._ring.newest.issuer, derived.token
        if token.key_version != present.key_version + 1:
            raise ConfigError(
                f"the new boot token belongs to master_key version {token.key_version}, which does not follow version "
                f"{present.key_version}"
            )
        if hmac.compare_digest(derived.run, self._ring.newest.run):
            raise ConfigError("the new master_key is the one in force: make another one")
        issuer = Issuer(derived.issuer_seed, token.key_version, present.install, present.boot, self._randomness)
        wipe(derived.issuer_seed)  # the issuer has a copy of its own, which goes with it
        pin = PinnedIssuer(present.key_version, present.public)
        try:
            follows = follow_untrusted(present.install, pin, token.succession) == PinnedIssuer(
                issuer.key_version, issuer.public
            )
        except PeerError:
            follows = False
        if not follows:
            raise ConfigError(
                "the new boot token has no statement by the present issuer key that the new one follows it: make the "
                "new key with `tlsrt-supervisor rotate --master`"
            )
        audit_public = public_of(derived.audit_root)
        wipe(derived.audit_root)
        return NewKeys(
            EpochKeySet(derived.run, issuer, derived.secrets),
            derived.mac_key,
            token.seal,
            token.succession,
            audit_public,
        )
