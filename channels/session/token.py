"""Tokens: identity and rights of a session, signed by the authority, wrapped for the loops. Pure.

`version u8 | key version u32 | epoch u64 | nonce 12 | AES-256-GCM(Ed25519 signature 64 | claims)`, with the
associated data `tlsrt/token/v1\\0` | that prefix. Exactly one key is tried, chosen by (key version, epoch); there is
no algorithm field. The signature covers the domain string and the claims as received, and is verified before they
are parsed. Verification is remembered: by the exact wrapped bytes, and below that by the SHA-256 of what was
unwrapped, so that a holder of the token key cannot cause a verification by wrapping the same token again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import msgpack
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frames.frame import NAME_MAX, SESSION_BYTES, TOKEN_MAX
from tlsrt.errors import MisuseError, PeerError

TOKEN_VERSION = 1
DOMAIN = b"tlsrt/token/v1\0"
NONCE_BYTES = 12
SIGNATURE_BYTES = 64
PREFIX_BYTES = 1 + 4 + 8 + NONCE_BYTES
LIFETIME_MAX_MS = 300_000 + 5_000
ANY_METHOD = "*"
ALWAYS_ALLOWED = "describe"  # on every target that a session holds any right to

Caps = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times are CLOCK_BOOTTIME of the host in ms."""

    token_id: bytes
    issuer: str
    subject: str
    install: bytes
    session: bytes
    boot: bytes
    epoch: int
    issued: int
    not_before: int
    expires: int
    confirmation: bytes  # SHA-256 of the client certificate, external sessions only; else empty
    caps: Caps
    allowed: dict[str, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed", {target: frozenset(methods) for target, methods in self.caps})

    def allows(self, target: str, method: str) -> bool:
        """Tell whether these caps contain the method of the target."""
        methods = self.allowed.get(target)
        return methods is not None and (method in methods or method == ALWAYS_ALLOWED or ANY_METHOD in methods)


def encode_claims(claims: Claims) -> bytes:
    packed: bytes = msgpack.packb(
        (
            claims.token_id, claims.issuer, claims.subject, claims.install, claims.session, claims.boot, claims.epoch,
            claims.issued, claims.not_before, claims.expires, claims.confirmation, claims.caps,
        ),
        use_bin_type=True,
    )  # fmt: skip
    return packed


_CLAIM_TYPES = (bytes, str, str, bytes, bytes, bytes, int, int, int, int, bytes, tuple)


def parse_claims_untrusted(data: bytes) -> Claims:
    """Return claims; raise PeerError for anything that is not exactly twelve well-formed fields."""
    try:
        fields = msgpack.unpackb(data, use_list=False, raw=False, max_map_len=0, max_ext_len=0, max_array_len=4096)
    except Exception as error:  # msgpack raises half a dozen classes
        raise PeerError("bad_claims") from error
    if type(fields) is not tuple or tuple(map(type, fields)) != _CLAIM_TYPES:
        raise PeerError("bad_claims")
    caps = fields[11]
    for cap in caps:
        if not (type(cap) is tuple and len(cap) == 2 and type(cap[0]) is str and type(cap[1]) is tuple):
            raise PeerError("bad_claims")
        if not all(type(method) is str for method in cap[1]):
            raise PeerError("bad_claims")
    claims = Claims(*fields)
    if len(claims.session) != SESSION_BYTES or len(claims.subject) > NAME_MAX or min(fields[6:10]) < 0:
        raise PeerError("bad_claims")
    return claims


def mint_token(
    claims: Claims, sign: Callable[[bytes], bytes], token_key: bytes, nonce: bytes, key_version: int
) -> bytes:
    """Return a wrapped token; `sign` is the issuer's Ed25519, `nonce` 12 random bytes."""
    if len(nonce) != NONCE_BYTES:
        raise MisuseError(f"a token nonce has {NONCE_BYTES} bytes")
    packed = encode_claims(claims)
    prefix = bytes([TOKEN_VERSION]) + key_version.to_bytes(4, "big") + claims.epoch.to_bytes(8, "big") + nonce
    sealed = AESGCM(token_key).encrypt(nonce, sign(DOMAIN + packed) + packed, DOMAIN + prefix)
    if len(prefix) + len(sealed) > TOKEN_MAX:
        raise MisuseError(f"a token has at most {TOKEN_MAX} bytes: give {claims.subject} fewer policy lines")
    return prefix + sealed


MEMO_BYTES = 2048  # for each token that may be remembered, all together; a loop can wrap its own in many ways


class TokenVerifier:
    """Unwraps and verifies tokens; keeps what it has verified, bounded.

    `signatures_verified` counts Ed25519 verifications: the caller charges them to the socket they came from.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._issuers: dict[int, Ed25519PublicKey] = {}
        self._keys: dict[int, tuple[AESGCM, int]] = {}  # by epoch, with the key version of its tokens
        self._wrapped = _Memo(capacity)
        self._unwrapped = _Memo(capacity)
        self.signatures_verified = 0

    def set_issuer(self, key_version: int, public: bytes) -> None:
        """Trust this issuer key (32 bytes, Ed25519) for that key version."""
        self._issuers[key_version] = Ed25519PublicKey.from_public_bytes(public)

    def set_key(self, epoch: int, token_key: bytes, key_version: int | None = None) -> None:
        """Accept tokens of this epoch. They are signed with that version of the issuer's key, or else the newest."""
        version = max(self._issuers, default=0) if key_version is None else key_version
        self._keys[epoch] = AESGCM(token_key), version

    def drop_epoch(self, epoch: int) -> None:
        """Accept tokens of this epoch no longer, nor trust an older issuer key that no epoch needs any more."""
        if self._keys.pop(epoch, None) is not None:
            needed = {max(self._issuers, default=0), *(version for _, version in self._keys.values())}
            self._issuers = {version: key for version, key in self._issuers.items() if version in needed}
        for memo in (self._wrapped, self._unwrapped):
            memo.forget_epoch(epoch)

    def forget_sessions(self, sessions: Collection[bytes]) -> None:
        """Forget the tokens of sessions that have ended, which nothing will ask for again."""
        for memo in (self._wrapped, self._unwrapped):
            memo.forget_sessions(sessions)

    def knows(self, token: bytes) -> bool:
        """Whether exactly these bytes were verified before, so that verifying them again costs nothing."""
        return self._wrapped.get(token) is not None

    def verify_untrusted(self, token: bytes) -> Claims:
        """Return the claims of a genuine token; raise PeerError. Says nothing about time: see `check_claims`."""
        known = self._wrapped.get(token)
        if known is not None:
            return known
        opened = self._unwrap(token)
        digest = hashlib.sha256(opened).digest()
        claims = self._unwrapped.get(digest)
        if claims is None:
            claims = self._verify(token, opened)
            self._unwrapped.add(digest, claims, len(opened))
        if claims.epoch != int.from_bytes(token[5:13], "big"):
            raise PeerError("token_epoch")
        self._wrapped.add(token, claims, len(token))
        return claims

    def _unwrap(self, token: bytes) -> bytes:
        if not PREFIX_BYTES + SIGNATURE_BYTES < len(token) <= TOKEN_MAX:
            raise PeerError("token_size")
        if token[0] != TOKEN_VERSION:
            raise PeerError("token_version")
        version = int.from_bytes(token[1:5], "big")
        if version not in self._issuers:
            raise PeerError("token_key_version")
        held = self._keys.get(int.from_bytes(token[5:13], "big"))
        if held is None:
            raise PeerError("token_epoch")
        key, version_of_epoch = held
        if version != version_of_epoch:  # an older issuer key signs nothing for a newer epoch
            raise PeerError("token_key_version")
        prefix = token[:PREFIX_BYTES]
        try:
            opened = key.decrypt(prefix[13:], token[PREFIX_BYTES:], DOMAIN + prefix)
        except InvalidTag as error:
            raise PeerError("token_forged") from error
        if len(opened) <= SIGNATURE_BYTES:
            raise PeerError("token_size")
        return opened

    def _verify(self, token: bytes, opened: bytes) -> Claims:
        packed = opened[SIGNATURE_BYTES:]
        self.signatures_verified += 1
        try:
            self._issuers[int.from_bytes(token[1:5], "big")].verify(opened[:SIGNATURE_BYTES], DOMAIN + packed)
        except InvalidSignature as error:
            raise PeerError("token_signature") from error
        return parse_claims_untrusted(packed)


class _Memo:
    """Claims by what they came from. The oldest go when there are too many, or when they came from too many bytes."""

    def __init__(self, capacity: int) -> None:
        self.size_max = MEMO_BYTES * capacity
        self._capacity = capacity
        self._claims: OrderedDict[bytes, tuple[Claims, int]] = OrderedDict()
        self._keys: dict[bytes, set[bytes]] = {}  # session -> what its claims came from
        self._size = 0

    def __len__(self) -> int:
        return len(self._claims)

    def get(self, key: bytes) -> Claims | None:
        known = self._claims.get(key)
        return known[0] if known is not None else None

    def add(self, key: bytes, claims: Claims, size: int) -> None:
        self._claims[key] = claims, size
        self._keys.setdefault(claims.session, set()).add(key)
        self._size += size
        while len(self._claims) > self._capacity or self._size > self.size_max:
            self._remove(next(iter(self._claims)))

    def forget_sessions(self, sessions: Collection[bytes]) -> None:
        for session in sessions:
            for key in tuple(self._keys.get(session, ())):
                self._remove(key)

    def forget_epoch(self, epoch: int) -> None:
        for key in [key for key, (claims, _) in self._claims.items() if claims.epoch == epoch]:
            self._remove(key)

    def _remove(self, key: bytes) -> None:
        claims, size = self._claims.pop(key)
        self._size -= size
        keys = self._keys[claims.session]
        keys.remove(key)
        if not keys:
            del self._keys[claims.session]


def check_claims(claims: Claims, now: int, install: bytes, boot: bytes) -> None:
    """Raise PeerError unless the token is of this install and boot and valid now. Done for every message."""
    if now >= claims.expires:
        raise PeerError("token_expired")
    if now < claims.not_before:
        raise PeerError("token_not_yet")
    if claims.boot != boot:
        raise PeerError("token_boot")
    if claims.install != install:
        raise PeerError("token_install")
    if claims.expires - claims.issued > LIFETIME_MAX_MS or claims.issued > claims.expires:
        raise PeerError("token_lifetime")
