"""Vectors of the key schedule and of tokens."""

from __future__ import annotations

from typing import Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fakes.memory_host import MemoryHost
from vectors.runner import named
from vectors.writer import VectorFile

from tlsrt.channels.session.token import DOMAIN, Claims, encode_claims, mint_token
from tlsrt.config import key_schedule as keys

MASTER = bytes(range(32))
INSTALL = bytes(range(0x10, 0x20))
BOOT_NONCE = bytes(range(0x20, 0x40))
CONSOLE = "third/console"
_CLAIMS = (
    "token_id", "issuer", "subject", "install", "session", "boot", "epoch", "issued", "not_before", "expires",
    "confirmation", "caps",
)  # fmt: skip


def key_schedule() -> VectorFile:
    """The chain from the master key to a reply key; each key is the first argument of the next."""
    file = VectorFile("keys", "The key schedule. `arguments` are hex, integers as they are; names are hex of UTF-8.")

    def derive(function: str, why: str, *arguments: bytes | int | str) -> bytes:
        plain = [argument.encode() if isinstance(argument, str) else argument for argument in arguments]
        key: bytes = getattr(keys, function)(*arguments)
        shown = [item if isinstance(item, int) else item.hex() for item in plain]
        name = function if function not in file._names else f"{function}, another"
        file.passes(name, why, {"key": key.hex()}, function=function, arguments=shown)
        return key

    prk = derive("extract", "HMAC-SHA256(key = install id, data = master key)", INSTALL, MASTER)
    derive("boot_id", "the public name of a boot", BOOT_NONCE)
    derive("boot_mac_key", "info = 'tlsrt/v1/boot', no context", prk)
    derive("issuer_seed", "key version 1", prk, 1)
    derive("issuer_seed", "key version 2 gives another key", prk, 2)
    run = derive("run_key", "context: the boot nonce", prk, BOOT_NONCE)
    derive("token_key", "epoch 7", run, 7)
    session, replier = bytes([0xAA]) * 16, bytes([0xBB]) * 16
    mailbox = derive("mailbox_root", "component, epoch 7, incarnation 2", run, "secondary/store", 7, 2)
    derive("mailbox_root", "the next incarnation has another root", run, "secondary/store", 7, 3)
    gate = derive("gate_root", "epoch 7, incarnation 1", run, 7, 1)
    derive("proof_key", "session aa..", gate, session)
    request = derive("request_key", "session aa.. to that mailbox", mailbox, session)
    derive("reply_key", "back from session bb..", request, replier)
    derive("canary_root", "of the canaries", prk)
    root = derive("audit_root", "of the audit log", prk)
    derive("audit_seed", "Ed25519 seed of the audit log's root key", root)
    file_key = derive("audit_file_key", "life 1", root, 1)
    derive("audit_next_file_key", "the file after", file_key)
    mac = derive("audit_mac_key", "of its first entry", file_key)
    derive("audit_next_mac_key", "of the second", mac)
    derive("gate_root", "integers have 8 bytes: the largest", run, 2**64 - 1, 2**64 - 1)
    return file


def tokens() -> VectorFile:
    world = MemoryHost(b"vectors")
    good = world.token(CONSOLE)
    file = VectorFile(
        "token", "Tokens as a loop sees them: unwrap, verify, then check time, boot and install.", **verifier(world),
        now=world.now, token=good.hex(),
    )  # fmt: skip
    claims = world.claims(CONSOLE)
    file.passes("a component's", "the token of third/console", {"claims": named(claims, _CLAIMS)})
    client = world.claims("client/admin")
    file.passes(
        "a client's", "it carries the hash of the client's certificate", {"claims": named(client, _CLAIMS)},
        token=world.token("client/admin").hex(),
    )  # fmt: skip
    file.passes(
        "the last millisecond", "a token is good before `expires`", {"claims": named(claims, _CLAIMS)},
        now=claims.expires - 1,
    )  # fmt: skip
    for name, reason, token in _damaged(world, good):
        file.fails(name, "no such token was ever issued", reason, token=token.hex())
    large = [good.hex(), {"repeat": "00", "times": 16384}]
    file.fails("too large", "at most 16384 bytes", "token_size", token=large)
    file.fails("expired", "`expires` itself is too late", "token_expired", now=claims.expires)
    file.fails("not yet", "before `not before`", "token_not_yet", now=claims.not_before - 1)
    file.fails("another boot", "the host was started anew", "token_boot", boot=bytes(16).hex())
    file.fails("another install", "a token of another host", "token_install", install=bytes(16).hex())
    long = world.token(CONSOLE, expires=world.now + 305_001)
    file.fails("too long a life", "at most 305 s from issued to expires", "token_lifetime", token=long.hex())
    newer = Ed25519PrivateKey.from_private_bytes(keys.issuer_seed(world.random("next master", 32), 2))
    issuers = [*file_issuers(world), [2, newer.public_key().public_bytes_raw().hex()]]
    both = [
        [world.epoch, keys.token_key(world.run, world.epoch).hex(), 1],
        [world.epoch + 1, keys.token_key(world.run, world.epoch + 1).hex(), 2],
    ]
    later = world.claims(CONSOLE, epoch=world.epoch + 1)
    rotated = {"issuers": issuers, "token_keys": both}
    file.passes(
        "of the key version before", "in an epoch of that version", {"claims": named(claims, _CLAIMS)}, **rotated
    )
    file.passes("of a new key version", "in an epoch of it", {"claims": named(later, _CLAIMS)},
                token=minted(world, later, newer, 2).hex(), **rotated)  # fmt: skip
    file.fails("an old issuer key for a new epoch", "an epoch belongs to one key version", "token_key_version",
               token=minted(world, later, world.issuer, 1).hex(), **rotated)  # fmt: skip
    file.fails("a new issuer key for an old epoch", "an epoch belongs to one key version", "token_key_version",
               token=minted(world, claims, newer, 2).hex(), **rotated)  # fmt: skip
    file.fails("an old issuer key under the new version", "the version chooses the key", "token_signature",
               token=minted(world, later, world.issuer, 2).hex(), **rotated)  # fmt: skip
    file.fails("an epoch that has ended", "its key is gone", "token_epoch", token_keys=[])
    return file


def minted(world: MemoryHost, claims: Claims, issuer: Ed25519PrivateKey, version: int) -> bytes:
    """Return a token as whoever has this issuer key and every token key can make it."""
    return mint_token(claims, issuer.sign, keys.token_key(world.run, claims.epoch), bytes(12), version)


def file_issuers(world: MemoryHost) -> list[list[Any]]:
    return [[1, world.issuer.public_key().public_bytes_raw().hex()]]


def verifier(world: MemoryHost) -> dict[str, Any]:
    """What every verifier is given."""
    return {
        "install": world.install.hex(),
        "boot": world.boot.hex(),
        "issuers": file_issuers(world),
        "token_keys": [[world.epoch, keys.token_key(world.run, world.epoch).hex()]],
    }


def _damaged(world: MemoryHost, good: bytes) -> list[tuple[str, str, bytes]]:
    packed = encode_claims(world.claims(CONSOLE))
    fields = list(msgpack.unpackb(packed))
    foreign = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return [
        ("empty", "token_size", b""),
        ("no claims", "token_size", good[:89]),
        ("another version", "token_version", b"\x02" + good[1:]),
        ("an unknown issuer key", "token_key_version", good[:1] + bytes((0, 0, 0, 9)) + good[5:]),
        ("another epoch in the prefix", "token_epoch", good[:12] + b"\x08" + good[13:]),
        ("a changed nonce", "token_forged", good[:13] + bytes((good[13] ^ 1,)) + good[14:]),
        ("a changed byte", "token_forged", good[:-1] + bytes((good[-1] ^ 1,))),
        ("wrapped with another key", "token_forged", world.token(CONSOLE, token_key=bytes(32))),
        ("a foreign signature", "token_signature", wrap(world, packed, foreign)),
        ("claims of another epoch inside", "token_epoch", wrap(world, encode_claims(world.claims(CONSOLE, epoch=8)))),
        ("eleven claims", "bad_claims", wrap(world, msgpack.packb(fields[:-1]))),
        ("a map of claims", "bad_claims", wrap(world, msgpack.packb({"subject": CONSOLE}))),
        ("a subject as bin", "bad_claims", wrap(world, msgpack.packb([*fields[:2], b"third/console", *fields[3:]]))),
        ("a cap that is no pair", "bad_claims", wrap(world, msgpack.packb([*fields[:-1], [["secondary/store"]]]))),
        ("a short session id", "bad_claims", wrap(world, msgpack.packb([*fields[:4], bytes(15), *fields[5:]]))),
        ("a negative time", "bad_claims", wrap(world, msgpack.packb([*fields[:9], -1, *fields[10:]]))),
        ("bytes after the claims", "bad_claims", wrap(world, packed + b"\xc0")),
    ]


def wrap(world: MemoryHost, packed: bytes, issuer: Ed25519PrivateKey | None = None) -> bytes:
    """Return any bytes signed and wrapped like claims: what a broken authority would make."""
    prefix = b"\x01" + (1).to_bytes(4, "big") + world.epoch.to_bytes(8, "big") + bytes(12)
    signature = (issuer or world.issuer).sign(DOMAIN + packed)
    sealed = AESGCM(keys.token_key(world.run, world.epoch)).encrypt(bytes(12), signature + packed, DOMAIN + prefix)
    return prefix + sealed
