"""The chain of issuer keys: statements about a new key, each signed by the key before it. Pure.

A client pins the issuer's public key. When master_key is rotated the issuer's key is another one, and the holder of
the old one says so: `old version u32 | new version u32 | new key 32 | signature 64`, the signature being Ed25519 of the
old key over `tlsrt/succession/v1\\0` | install id 16 | the first three. A chain is such statements one after the other,
each for the version that follows. A client that pins a key of it follows from there on; versions only rise, so that an
old statement leads no client back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tlsrt.errors import MisuseError, PeerError

DOMAIN = b"tlsrt/succession/v1\0"
KEY_BYTES = 32
SIGNATURE_BYTES = 64
STATEMENT_BYTES = 4 + 4 + KEY_BYTES + SIGNATURE_BYTES
CHAIN_MAX = 16  # statements; a client that missed more rotations needs a new bundle
CHAIN_BYTES_MAX = CHAIN_MAX * STATEMENT_BYTES
VERSION_MAX = (1 << 32) - 1  # a token has room for no more

Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class PinnedIssuer:
    """The issuer key that a client trusts, and its version."""

    version: int
    key: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """One key follows another: the version that signed it, and what it says."""

    old: int
    new: PinnedIssuer
    signature: bytes

    def encode(self) -> bytes:
        """Return the 104 bytes that travel."""
        return _said(self.old, self.new) + self.signature


Chain = tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class SealRecord:
    """The newest seal, master_key and issuer chain in a host's state, if the caller may read it."""

    seal: int = 0
    key_version: int = 0
    succession: Chain = ()


NO_SEAL_RECORD = SealRecord()


def state_successor(install: bytes, old: int, new: PinnedIssuer, sign: Sign) -> Statement:
    """Return the statement that `new` follows the key of version `old`, whose Ed25519 is `sign`. Raises MisuseError."""
    if new.version != old + 1 or not 0 < old < VERSION_MAX or len(new.key) != KEY_BYTES:
        raise MisuseError(f"an issuer key of version {new.version} cannot follow version {old}")
    return Statement(old, new, sign(DOMAIN + install + _said(old, new)))


def lengthen(chain: Chain, statement: Statement) -> Chain:
    """Return the chain with one more statement, without those that are too old to be kept."""
    return (*chain, statement)[-CHAIN_MAX:]


def encode_chain(chain: Iterable[Statement]) -> bytes:
    return b"".join(statement.encode() for statement in chain)


def parse_chain_untrusted(data: bytes) -> Chain:
    """Return the statements in `data`, signatures not yet checked; PeerError for anything else."""
    if len(data) > CHAIN_BYTES_MAX or len(data) % STATEMENT_BYTES:
        raise PeerError("bad_succession")
    pieces = [data[start : start + STATEMENT_BYTES] for start in range(0, len(data), STATEMENT_BYTES)]
    chain = tuple(map(_statement, pieces))
    first = chain[0].old if chain else 1
    for version, statement in enumerate(chain, start=first):
        if not 0 < version == statement.old or statement.new.version != version + 1:
            raise PeerError("bad_succession")
    return chain


def follow_untrusted(install: bytes, pin: PinnedIssuer, chain: Chain) -> PinnedIssuer:
    """Return the issuer that a chain leads to: the same one if it does not say what follows.

    Raises PeerError if a statement about the pinned key's successor is not signed by it.
    """
    for statement in chain:
        if statement.old == pin.version:
            try:
                key = Ed25519PublicKey.from_public_bytes(pin.key)
                key.verify(statement.signature, DOMAIN + install + _said(statement.old, statement.new))
            except (InvalidSignature, ValueError) as error:
                raise PeerError("succession_signature") from error
            pin = statement.new
    return pin


def _said(old: int, new: PinnedIssuer) -> bytes:
    return old.to_bytes(4, "big") + new.version.to_bytes(4, "big") + new.key


def _statement(data: bytes) -> Statement:
    old, new = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    return Statement(old, PinnedIssuer(new, data[8 : 8 + KEY_BYTES]), data[8 + KEY_BYTES :])
