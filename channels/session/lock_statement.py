"""Lock statements: what a client signs to unlock the host, or to lock it. Pure.

A statement is a domain and fields of fixed sizes, the reason of a lock alone excepted, which comes last; so no two
statements have the same bytes. The challenge is the authority's, for one connection, and good once. An unlock also
names the lock: a signature that was captured says nothing about the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsrt.channels.session.grant import BOOT_BYTES, CHALLENGE_BYTES, INSTALL_BYTES, sign_as, verify_as
from tlsrt.errors import MisuseError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

LOCK_BYTES = 16  # of the id of a lock
REASON_MAX = 200  # characters
UNLOCK_DOMAIN = b"tlsrt/unlock/v1\0"
LOCK_DOMAIN = b"tlsrt/lock/v1\0"


def unlock_statement(install: bytes, boot: bytes, lock: bytes, challenge: bytes) -> bytes:
    """Return what is signed to end this lock."""
    sizes = (len(install), len(boot), len(lock), len(challenge))
    if sizes != (INSTALL_BYTES, BOOT_BYTES, LOCK_BYTES, CHALLENGE_BYTES):
        raise MisuseError("a field of an unlock has a wrong size")
    return UNLOCK_DOMAIN + install + boot + lock + challenge


def lock_statement(install: bytes, boot: bytes, challenge: bytes, reason: str) -> bytes:
    """Return what is signed to lock the host."""
    if (len(install), len(boot), len(challenge)) != (INSTALL_BYTES, BOOT_BYTES, CHALLENGE_BYTES):
        raise MisuseError("a field of a lock has a wrong size")
    if len(reason) > REASON_MAX:
        raise MisuseError(f"a reason has at most {REASON_MAX} characters")
    return LOCK_DOMAIN + install + boot + challenge + reason.encode()


def sign_statement(private_key: object, statement: bytes) -> bytes:
    """Return the client's signature. Raise MisuseError for a key of another kind than clients have."""
    return sign_as(private_key, statement)


def verify_statement_untrusted(certificate: bytes, statement: bytes, signature: bytes) -> Certificate:
    """Return the certificate (DER) whose key has signed this; raise PeerError. Who that is has to be checked."""
    return verify_as(certificate, statement, signature)
