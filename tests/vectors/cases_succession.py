"""Vectors of the succession of issuer keys: who pins which key follows a chain to where."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from vectors.cases_keys import INSTALL
from vectors.writer import VectorFile

from tlsrt.config.issuer_chain import CHAIN_MAX, DOMAIN, PinnedIssuer, Statement, encode_chain, state_successor

ISSUERS = {version: Ed25519PrivateKey.from_private_bytes(bytes([0xA0 + version]) * 32) for version in range(1, 21)}


def pin(version: int, issuers: dict[int, Ed25519PrivateKey] = ISSUERS) -> PinnedIssuer:
    return PinnedIssuer(version, issuers[version].public_key().public_bytes_raw())


def statement(
    old: int, *, signer: Ed25519PrivateKey | None = None, new: PinnedIssuer | None = None, install: bytes = INSTALL,
    issuers: dict[int, Ed25519PrivateKey] = ISSUERS,
) -> Statement:  # fmt: skip
    return state_successor(install, old, new or pin(old + 1, issuers), (signer or issuers[old]).sign)


def chain(first: int, last: int) -> bytes:
    """Return the chain that leads from one version to another."""
    return encode_chain(statement(old) for old in range(first, last))


def successions() -> VectorFile:
    """What a client makes of a chain."""
    file = VectorFile(
        "succession", "A chain as a client takes it that pins `issuer` of `issuer_version`; what it pins afterwards.",
        install=INSTALL.hex(), issuer=pin(1).key.hex(), issuer_version=1, chain=chain(1, 2).hex(),
    )  # fmt: skip

    def told(version: int) -> dict[str, Any]:
        return {"issuer": pin(version).key.hex(), "issuer_version": version}

    file.passes("one rotation", "the old key says which one follows it", told(2))
    file.passes("three rotations", "each key says which one follows it", told(4), chain=chain(1, 4).hex())
    file.passes("a client in between", "what is older than its pin says nothing", told(4), chain=chain(1, 4).hex(),
                issuer=pin(3).key.hex(), issuer_version=3)  # fmt: skip
    file.passes("nothing new", "it has followed already", told(2), issuer=pin(2).key.hex(), issuer_version=2)
    file.passes("an old chain", "it leads nobody back", told(4), issuer=pin(4).key.hex(), issuer_version=4)
    file.passes("a gap", "version 2 to 3 says nothing to who pins version 1", told(1), chain=chain(2, 3).hex())
    file.passes("the longest", "16 statements", told(17), chain=chain(1, 17).hex())
    forged = statement(1, signer=Ed25519PrivateKey.from_private_bytes(bytes(32)))
    again = Statement(1, pin(9), forged.signature)
    said = statement(1).encode()[:40]
    as_grant = DOMAIN.replace(b"succession", b"grant") + INSTALL + said
    for name, why, bad in (
        ("signed by a stranger", "only the pinned key says what follows it", forged),
        ("signed by the new key", "nobody vouches for itself", statement(1, signer=ISSUERS[2])),
        ("of another install", "the install id is signed", statement(1, install=bytes(16))),
        ("no signature", "64 zero bytes", Statement(1, pin(2), bytes(64))),
        ("another new key", "it is signed", Statement(1, PinnedIssuer(2, pin(3).key), statement(1).signature)),
        ("signed without the domain", "the domain string comes first", Statement(1, pin(2), ISSUERS[1].sign(said))),
        ("signed for a grant", "another domain string", Statement(1, pin(2), ISSUERS[1].sign(as_grant))),
    ):  # fmt: skip
        file.fails(name, why, "succession_signature", chain=bad.encode().hex())
    good = statement(1).encode()
    second = statement(2, signer=ISSUERS[1]).encode()
    file.fails("an old key signs the second", "its own successor only", "succession_signature",
               chain=(good + second).hex())  # fmt: skip
    for name, why, data in (
        ("version 3 after 1", "the next version only", again.encode()),
        ("version 0", "versions start at 1", bytes(4) + (1).to_bytes(4, "big") + good[8:]),
        ("a byte less", "statements of 104 bytes", good[:-1]),
        ("a byte more", "statements of 104 bytes", good + b"\0"),
        ("the same twice", "each follows the one before", good + good),
        ("in the wrong order", "the oldest first", statement(2).encode() + good),
        ("a gap inside", "each follows the one before", good + statement(3).encode()),
        ("17 statements", "at most 16", chain(1, CHAIN_MAX + 2)),
    ):
        file.fails(name, why, "bad_succession", chain=data.hex())
    return file
