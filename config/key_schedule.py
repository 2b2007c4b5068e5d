"""The key schedule: every key of a host, derived from master_key. Pure.

HKDF-SHA256 (RFC 5869). PRK = Extract(salt = install id, master_key); every other key is an Expand whose info is
`tlsrt/v1/<use>` followed by its context fields, each u16 BE length | bytes, with integers as 8 bytes BE. A label is
used in one function only, and each function says who may hold its result. All keys are 32 bytes.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import hmac as chmac

KEY_BYTES = 32
_LABEL = b"tlsrt/v1/"

Field = bytes | str | int


def extract(install_id: bytes, master_key: bytes | memoryview) -> bytes:
    """Return PRK, the root of all keys, held by the authority until the keys below are derived.

    The master key may be a memoryview of a secret page: no copy of it is made here.
    """
    mac = chmac.HMAC(install_id, hashes.SHA256())
    mac.update(master_key)
    return mac.finalize()


def expand(key: bytes, use: str, *context: Field) -> bytes:
    """Return HKDF-Expand(key, label and context, 32): one HMAC block (RFC 5869, section 2.3)."""
    info = bytearray(_LABEL + use.encode())
    for field in context:
        if isinstance(field, int):
            field = field.to_bytes(8, "big")
        elif isinstance(field, str):
            field = field.encode()
        info += len(field).to_bytes(2, "big")
        info += field
    return hmac.digest(key, bytes(info) + b"\x01", "sha256")


def boot_id(boot_nonce: bytes) -> bytes:
    """Return the public name of one boot, 16 bytes."""
    digest = hashlib.sha256(b"tlsrt/boot-id/v1\0")
    digest.update(boot_nonce)  # not joined before: that would be a copy which is never wiped
    return digest.digest()[:16]


def boot_mac_key(prk: bytes) -> bytes:
    """Return the key of the boot token. Held by the authority and, while they run, by init and seal."""
    return expand(prk, "boot")


def issuer_seed(prk: bytes, key_version: int) -> bytes:
    """Return the Ed25519 seed that signs tokens and grants. Held by the authority only."""
    return expand(prk, "issuer", key_version)


def join_key(issuer: bytes) -> bytes:
    """Return the key that the secrets of join codes come from. Held by the authority only."""
    return expand(issuer, "join")


def join_secret(key: bytes, code_id: bytes) -> bytes:
    """Return the secret of a join code, 16 bytes. Held by the authority and by the receiver of the code."""
    return expand(key, "join/secret", code_id)[:16]


def enrol_key(code_id: bytes, secret: bytes, side: str) -> bytes:
    """Return the key of the proof of one side, "c" or "s", with a join code: HKDF, salt the id."""
    return expand(extract(code_id, secret), f"enrol/{side}")


def run_key(prk: bytes, boot_nonce: bytes) -> bytes:
    """Return the root of one boot's keys. Held by the authority only."""
    return expand(prk, "run", boot_nonce)


def token_key(run: bytes, epoch: int) -> bytes:
    """Return the key that wraps tokens. Held by the authority and the loops, never by clients."""
    return expand(run, "token", epoch)


def mailbox_root(run: bytes, component: str, epoch: int, incarnation: int) -> bytes:
    """Return K_r of one recipient's incarnation. Held by the authority and that recipient."""
    return expand(run, "mailbox", component, epoch, incarnation)


def gate_root(run: bytes, epoch: int, incarnation: int) -> bytes:
    """Return K_gate of one Primary incarnation. Held by the authority and Primary."""
    return expand(run, "gate", epoch, incarnation)


def request_key(mailbox: bytes, session_id: bytes) -> bytes:
    """Return the key for bodies from session s to r. Held by the authority, s, and r, which derives it."""
    return expand(mailbox, "pair", session_id)


def reply_key(request: bytes, replier_session_id: bytes) -> bytes:
    """Return the key for bodies back from replier session t. Held by the same two as the request key."""
    return expand(request, "reply", replier_session_id)


def proof_key(gate: bytes, session_id: bytes) -> bytes:
    """Return the key that proves possession of session s to the gate. It never seals a body."""
    return expand(gate, "proof", session_id)


def canary_root(prk: bytes) -> bytes:
    """Return the root of the canaries. Held by the authority until their hashes are made, and by `honeypot plant`."""
    return expand(prk, "canary")


def secret_root(prk: bytes) -> bytes:
    """Return the root of the components' secrets. Held by the authority, and by the commands that set them."""
    return expand(prk, "secret")


def secret_key(root: bytes, component: str) -> bytes:
    """Return the key of one component's secrets. Held by that component's process, from its attestation on."""
    return expand(root, "secret/component", component)


def certificate_key(root: bytes) -> bytes:
    """Return the key that seals the private key of an issued certificate in the state. Held by the authority only."""
    return expand(root, "certificate")


def account_seed(root: bytes, directory: str) -> bytes:
    """Return the 64 bytes that decide the key of the account with a CA. The key is held by the ACME process, too."""
    return expand(root, "acme", directory, 0) + expand(root, "acme", directory, 1)


def backup_mac_key(prk: bytes) -> bytes:
    """Return the key of backups of the host. Held, while they run, by the commands that make and read one."""
    return expand(prk, "backup")


def host_archive_key(root: bytes, salt: bytes) -> bytes:
    """Return the key of one sealed archive of the host; `root` is `secret_root`.

    Held by the authority, which makes it, by the process that writes this archive, and by the commands that read it.
    """
    return expand(root, "backup/archive", salt)


def audit_root(prk: bytes) -> bytes:
    """Return the root of the audit log's keys. Held by the authority until those of its life are derived."""
    return expand(prk, "audit")


def audit_seed(root: bytes) -> bytes:
    """Return the Ed25519 seed that signs the first header of each life. Wiped as soon as it has done that."""
    return expand(root, "audit-sign")


def audit_file_key(root: bytes, life: int) -> bytes:
    """Return the key of the first file that one life of the authority writes."""
    return expand(root, "audit-life", life)


def audit_next_file_key(file_key: bytes) -> bytes:
    """Return the key of the file after; the old one is wiped."""
    return expand(file_key, "audit-file")


def audit_mac_key(file_key: bytes) -> bytes:
    """Return the MAC key of a file's first entry."""
    return expand(file_key, "audit-mac")


def audit_next_mac_key(mac_key: bytes) -> bytes:
    """Return the MAC key of the entry after; the old one is wiped."""
    return expand(mac_key, "audit-step")
