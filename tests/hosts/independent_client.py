"""A client as a stranger would write it from PROTOCOL.md alone: nothing of tlsrt is imported here.

It follows one recorded session (tests/vectors/session.json) and says what it finds, by name. HPKE is written out from
RFC 9180, sections 4 and 5.1, because its suite ids are part of the protocol.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgpack
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509 import load_der_x509_certificate

KEM = b"KEM" + (0x0020).to_bytes(2, "big")
SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0002))


def expand(key: bytes, use: str, *context: bytes) -> bytes:
    info = b"tlsrt/v1/" + use.encode() + b"".join(len(field).to_bytes(2, "big") + field for field in context)
    return hmac.digest(key, info + b"\x01", "sha256")


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _labeled_extract(suite: bytes, salt: bytes, label: bytes, data: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + data, "sha256")


def _labeled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    data = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, data + b"\x01", "sha256")[:length]


def hpke_open(private: X25519PrivateKey, sealed: bytes, info: bytes) -> bytes:
    """Return the plaintext of `enc | ciphertext`; base mode, empty associated data."""
    encapsulated, ciphertext = sealed[:32], sealed[32:]
    shared = private.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    context = encapsulated + private.public_key().public_bytes_raw()
    secret = _labeled_expand(KEM, _labeled_extract(KEM, b"", b"eae_prk", shared), b"shared_secret", context, 32)
    ids = _labeled_extract(SUITE, b"", b"psk_id_hash", b"")
    schedule = b"\0" + ids + _labeled_extract(SUITE, b"", b"info_hash", info)
    root = _labeled_extract(SUITE, secret, b"secret", b"")
    key = _labeled_expand(SUITE, root, b"key", schedule, 32)
    nonce = _labeled_expand(SUITE, root, b"base_nonce", schedule, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def host_keys(given: dict[str, Any]) -> dict[str, bytes]:
    """Return the host's side of the key schedule, which a client never computes."""
    install, session = bytes.fromhex(given["install"]), bytes.fromhex(given["session"])
    nonce, target = bytes.fromhex(given["boot_nonce"]), given["target"].encode()
    prk = hmac.digest(install, bytes.fromhex(given["master_key"]), "sha256")
    seed = expand(prk, "issuer", number(given["key_version"]))
    run = expand(prk, "run", nonce)
    epoch = number(given["epoch"])
    root = expand(run, "mailbox", target, epoch, number(given["mailbox_incarnation"]))
    gate = expand(run, "gate", epoch, number(given["gate_incarnation"]))
    request = expand(root, "pair", session)
    return {
        "prk": prk, "issuer_seed": seed, "run_key": run, "token_key": expand(run, "token", epoch),
        "issuer_public": Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw(),
        "boot": hashlib.sha256(b"tlsrt/boot-id/v1\0" + nonce).digest()[:16], "mailbox_root": root, "gate_root": gate,
        "request_key": request, "reply_key": expand(request, "reply", bytes.fromhex(given["replier_session"])),
        "proof_key": expand(gate, "proof", session),
    }  # fmt: skip


def payload(sent: bytes) -> Any:
    assert int.from_bytes(sent[:4], "big") == len(sent) - 4
    return msgpack.unpackb(sent[4:])


def follow(install: bytes, version: int, key: bytes, chain: bytes) -> tuple[int, bytes]:
    """Return the issuer key and version that we pin after a chain; check everything that a client must check."""
    assert 104 <= len(chain) <= 16 * 104 and len(chain) % 104 == 0
    statements = [chain[start : start + 104] for start in range(0, len(chain), 104)]
    olds = [int.from_bytes(statement[:4], "big") for statement in statements]
    assert olds[0] > 0 and olds == list(range(olds[0], olds[0] + len(olds)))
    assert [int.from_bytes(statement[4:8], "big") for statement in statements] == [old + 1 for old in olds]
    for old, statement in zip(olds, statements, strict=True):
        if old == version:
            said = b"tlsrt/succession/v1\0" + install + statement[:40]
            Ed25519PublicKey.from_public_bytes(key).verify(statement[40:], said)
            version, key = old + 1, statement[8:40]
    return version, key


def take_grant(given: dict[str, Any], sent: dict[str, bytes], issuer: bytes) -> list[Any]:
    """Return the fields of the grant that answers our open; check everything that a client must check."""
    name, install, boot, challenge, _ = payload(sent["challenge_sent"])
    assert name == "challenge" and install.hex() == given["install"]
    name, opened, signature = payload(sent["open_sent"])
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(given["ephemeral_private"]))
    certificate = bytes.fromhex(given["client_certificate"])
    ours = [1, install, boot, challenge, certificate, private.public_key().public_bytes_raw()]
    assert name == "open" and opened == msgpack.packb(ours)
    key = load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    key.verify(signature, b"tlsrt/open/v1\0" + opened, ECDSA(hashes.SHA256()))
    name, count, ciphertext, signature = payload(sent["granted_sent"])
    info = b"tlsrt/grant/v1\0" + hashlib.sha256(opened).digest()
    Ed25519PublicKey.from_public_bytes(issuer).verify(signature, info + number(count) + ciphertext)
    fields: list[Any] = msgpack.unpackb(hpke_open(private, ciphertext, info))
    assert name == "granted" and fields[0] == 1 and fields[2] == install and fields[3] == boot
    return fields


def ask(given: dict[str, Any], grant: list[Any]) -> bytes:
    """Return the request frame of the session."""
    _, _, _, _, epoch, _, session, subject, token, _, _, gate, proof_key, rights = grant
    target, mailbox, request_key, _ = next(right for right in rights if right[0] == given["target"])
    header = msgpack.packb(
        [1, 1, session, 1, 0, subject, target, mailbox, gate, given["method"], epoch, given["deadline"], b"", 0]
    )
    nonce = bytes(4) + number(1)
    body = AESGCM(request_key).encrypt(nonce, msgpack.packb([["a"], {}, None]), header)
    covered = len(header).to_bytes(4, "big") + header + len(token).to_bytes(4, "big") + token + body[-16:]
    proof = AESGCM(proof_key).encrypt(nonce, b"", covered)
    frame: bytes = msgpack.packb([header, token, body, proof])
    return frame


def read_reply(grant: list[Any], data: bytes) -> Any:
    """Return the value in a reply to our first request."""
    header, _, body, _ = msgpack.unpackb(data)
    fields = msgpack.unpackb(header)
    _, kind, replier, seq, _, src, dst, mailbox, _, _, epoch, _, correlation, _ = fields
    right = next(right for right in grant[13] if right[0] == src)
    assert (kind, dst, epoch, mailbox) == (2, grant[7], grant[4], right[1])
    assert correlation == grant[6] + number(1)
    key = expand(right[2], "reply", replier)
    return msgpack.unpackb(AESGCM(key).decrypt(bytes(4) + number(seq), body, header))
