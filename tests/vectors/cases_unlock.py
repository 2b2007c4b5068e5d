"""Vectors of what a client signs to unlock the host, and to lock it."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from vectors.cases_keys import BOOT_NONCE, INSTALL
from vectors.cases_opening import CHALLENGE, certificate, client_key
from vectors.writer import Stored, VectorFile

from tlsrt.channels.session.grant import OPEN_DOMAIN
from tlsrt.channels.session.lock_statement import UNLOCK_DOMAIN, lock_statement, sign_statement, unlock_statement
from tlsrt.config import key_schedule

BOOT = key_schedule.boot_id(BOOT_NONCE)
LOCK = bytes(range(0xC0, 0xD0))
REASON = "seen at the gate"


def _signed(stored: Stored, name: str, key: EllipticCurvePrivateKey, statement: bytes) -> bytes:
    public = key.public_key().public_numbers()
    made_of = public.x.to_bytes(32, "big")
    return stored.value(f"statement {name}", lambda: sign_statement(key, statement), made_of, statement)


def unlocks(stored: Stored) -> VectorFile:
    """What the authority takes for an unlock or a lock, as far as bytes tell."""
    key = client_key(stored)
    unlock = unlock_statement(INSTALL, BOOT, LOCK, CHALLENGE)
    lock = lock_statement(INSTALL, BOOT, CHALLENGE, REASON)
    signature = _signed(stored, "unlock", key, unlock)
    lock_signature = _signed(stored, "lock", key, lock)
    file = VectorFile(
        "unlock", "A signed unlock (with `lock`) or lock (with `lock_reason`); who has signed is not part of it.",
        certificate=certificate(stored, "P-256", key).hex(), install=INSTALL.hex(), boot=BOOT.hex(),
        challenge=CHALLENGE.hex(), signature=signature.hex(),
    )  # fmt: skip
    this: dict[str, Any] = {"lock": LOCK.hex()}
    told = {"statement": unlock.hex()}
    file.passes("unlock", "'tlsrt/unlock/v1\\0' | install | boot | lock | challenge", told, **this)
    as_lock: dict[str, Any] = {"lock_reason": REASON, "signature": lock_signature.hex()}
    told = {"statement": lock.hex()}
    file.passes("lock", "'tlsrt/lock/v1\\0' | install | boot | challenge | reason in UTF-8", told, **as_lock)
    for name, why, changes in (
        ("another install", "a host takes its own only", {"install": bytes(16).hex()}),
        ("another boot", "of a life before", {"boot": bytes(16).hex()}),
        ("another lock", "a signature for a lock is none for the next", {"lock": bytes(16).hex()}),
        ("another challenge", "good once, for one connection", {"challenge": bytes(32).hex()}),
        ("a changed signature", "one bit", {"signature": (signature[:-1] + bytes((signature[-1] ^ 1,))).hex()}),
        ("the signature of a lock", "another domain", {"signature": lock_signature.hex()}),
    ):
        file.fails(name, why, "open_signature", **{**this, **changes})
    bare = _signed(stored, "unlock without domain", key, unlock.removeprefix(UNLOCK_DOMAIN))
    file.fails("signed without the domain", "it comes first", "open_signature", **this, signature=bare.hex())
    opened = _signed(stored, "unlock as open", key, OPEN_DOMAIN + unlock.removeprefix(UNLOCK_DOMAIN))
    file.fails("signed as an open", "another domain", "open_signature", **this, signature=opened.hex())
    file.fails("another reason", "it is signed too", "open_signature", **{**as_lock, "lock_reason": "for fun"})
    file.fails("no certificate but bytes", "DER is wanted", "open_certificate", **this, certificate="00")
    file.fails("a signature of 81 bytes", "at most 80", "open_signature", **this, signature=bytes(81).hex())
    return file
