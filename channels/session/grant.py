"""Opening an external session: what the client signs, and the grant that only it can read. Pure.

Primary carries these bytes but cannot take part. `open` names the client's certificate, the authority's challenge and
a fresh X25519 key, and is signed with the certificate's private key: no other can open in the client's place. The
grant is encrypted to that fresh key by HPKE (RFC 9180, base mode) and signed by the issuer over the digest of this
very open, so that a grant fits no other open; its number only rises, so that an old one cannot be played again. Every
later push (epoch, respawned recipient, renewal) is another grant under the same open. PROTOCOL.md has the fields.

All functions here are calls of the `cryptography` package around two positional msgpack arrays. Certificates are
parsed by `verify_open` alone; their chain, revocation and registration are checked by the authority.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgpack
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey as EllipticPublic
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tlsrt.channels.frames.frame import NAME_MAX, SESSION_BYTES, TOKEN_MAX
from tlsrt.config import hpke
from tlsrt.config.key_schedule import KEY_BYTES
from tlsrt.errors import MisuseError, PeerError

if TYPE_CHECKING:
    from cryptography import x509

VERSION = 1
OPEN_DOMAIN = b"tlsrt/open/v1\0"
GRANT_DOMAIN = b"tlsrt/grant/v1\0"
INSTALL_BYTES = 16
BOOT_BYTES = 16
CHALLENGE_BYTES = 32
EPHEMERAL_BYTES = 32
CERTIFICATE_MAX = 8 * 1024  # a P-256 or Ed25519 leaf with names and a CRL pointer has about 700 bytes
OPEN_MAX = CERTIFICATE_MAX + 256
OPEN_SIGNATURE_MAX = 80  # DER ECDSA P-256 has at most 72 bytes, Ed25519 64
GRANT_SIGNATURE_BYTES = 64
GRANT_MAX = 44 * 1024  # with the token beside it, one trust packet of 64 KiB carries it to Primary
RIGHTS_MAX = 1024
METHODS_MAX = 256
_U64 = 1 << 64
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


@dataclass(frozen=True, slots=True)
class Open:
    """A client's wish for a session. `certificate` is DER, `ephemeral_public` a raw X25519 key."""

    install: bytes
    boot: bytes
    challenge: bytes
    certificate: bytes
    ephemeral_public: bytes


@dataclass(frozen=True, slots=True)
class Right:
    """One recipient that the session may call, with the request key that this takes."""

    target: str
    mailbox: int  # incarnation of the recipient that the key belongs to
    key: bytes = field(repr=False)
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GrantContent:
    """All that a client needs to seal and open frames. Times are the host's CLOCK_BOOTTIME in ms."""

    now: int  # at the authority, when it made this grant
    install: bytes
    boot: bytes
    epoch: int
    grace_ms: int  # how long the keys of the epoch before stay good
    session: bytes
    subject: str  # "client/admin"
    token: bytes = field(repr=False)
    token_expires: int
    session_ends: int
    gate: int  # incarnation of the gate that the proof key belongs to
    proof_key: bytes = field(repr=False)
    rights: tuple[Right, ...]


def encode_open(wish: Open) -> bytes:
    """Return the bytes that the client signs and sends."""
    packed: bytes = _pack((VERSION, wish.install, wish.boot, wish.challenge, wish.certificate, wish.ephemeral_public))
    return packed


def parse_open_untrusted(data: bytes) -> Open:
    """Return a well-formed open; raise PeerError. Proves nothing yet: see `verify_open`."""
    fields = _array_untrusted(data, OPEN_MAX, "bad_open")
    if tuple(map(type, fields)) != (int, bytes, bytes, bytes, bytes, bytes):
        raise PeerError("bad_open")
    wish = Open(*fields[1:])
    sizes = (len(wish.install), len(wish.boot), len(wish.challenge), len(wish.ephemeral_public))
    if sizes != (INSTALL_BYTES, BOOT_BYTES, CHALLENGE_BYTES, EPHEMERAL_BYTES):
        raise PeerError("bad_open")
    if not 0 < len(wish.certificate) <= CERTIFICATE_MAX:
        raise PeerError("bad_open")
    return wish


def open_digest(data: bytes) -> bytes:
    """Return the name of one open, SHA-256 of its bytes as they travelled."""
    return hashlib.sha256(data).digest()


def sign_as(private_key: object, data: bytes) -> bytes:
    """Return a client's signature: ECDSA P-256 with SHA-256 (DER), or Ed25519. Raise MisuseError for other keys."""
    if isinstance(private_key, Ed25519PrivateKey):
        return private_key.sign(data)
    if isinstance(private_key, EllipticCurvePrivateKey) and isinstance(private_key.curve, SECP256R1):
        return private_key.sign(data, ECDSA(hashes.SHA256()))
    raise MisuseError("a client key is ECDSA P-256 or Ed25519")


def sign_open(private_key: object, data: bytes) -> bytes:
    """Return the client's signature. Raise MisuseError for a key of another kind than clients have."""
    return sign_as(private_key, OPEN_DOMAIN + data)


def verify_as(der: bytes, data: bytes, signature: bytes) -> x509.Certificate:
    """Return the parsed certificate whose key has signed `data`; raise PeerError. Who that is has to be checked."""
    from cryptography import x509

    if len(signature) > OPEN_SIGNATURE_MAX:
        raise PeerError("open_signature")
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
    except Exception as error:  # ValueError, InvalidVersion, UnsupportedAlgorithm...: all mean the same
        raise PeerError("open_certificate") from error
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, data)
        elif isinstance(key, EllipticPublic) and isinstance(key.curve, SECP256R1):
            key.verify(signature, data, ECDSA(hashes.SHA256()))
        else:
            raise PeerError("open_key_type")
    except InvalidSignature as error:
        raise PeerError("open_signature") from error
    return certificate


def verify_open(wish: Open, data: bytes, signature: bytes) -> x509.Certificate:
    """Check that the holder of the certificate's key signed `data`, and return the parsed certificate.

    Raises PeerError. Chain, validity, revocation, registration and challenge are the authority's to check.
    """
    return verify_as(wish.certificate, OPEN_DOMAIN + data, signature)


def encode_grant(content: GrantContent) -> bytes:
    """Return the plaintext of a grant; raise MisuseError if it would be too large to travel."""
    rights = [(right.target, right.mailbox, right.key, right.methods) for right in content.rights]
    packed: bytes = _pack(
        (
            VERSION, content.now, content.install, content.boot, content.epoch, content.grace_ms, content.session,
            content.subject, content.token, content.token_expires, content.session_ends, content.gate,
            content.proof_key, rights,
        )
    )  # fmt: skip
    if len(packed) > GRANT_MAX - 64:  # HPKE adds 48 bytes
        raise MisuseError(f"the grant of {content.subject} has {len(packed)} bytes: give it fewer policy lines")
    return packed


_GRANT_TYPES = (int, int, bytes, bytes, int, int, bytes, str, bytes, int, int, int, bytes, tuple)


def parse_grant_untrusted(data: bytes) -> GrantContent:
    """Return a well-formed grant; raise PeerError for anything else."""
    fields = _array_untrusted(data, GRANT_MAX, "bad_grant")
    if tuple(map(type, fields)) != _GRANT_TYPES:
        raise PeerError("bad_grant")
    everything: tuple[Any, ...] = (*fields[1:-1], tuple(_right_untrusted(item) for item in fields[-1]))
    content = GrantContent(*everything)
    numbers = (
        content.now, content.epoch, content.grace_ms, content.token_expires, content.session_ends, content.gate,
    )  # fmt: skip
    sizes = (len(content.install), len(content.boot), len(content.session), len(content.proof_key))
    if not all(0 <= number < _U64 for number in numbers):
        raise PeerError("bad_grant")
    if sizes != (INSTALL_BYTES, BOOT_BYTES, SESSION_BYTES, KEY_BYTES):
        raise PeerError("bad_grant")
    if not 0 < len(content.subject) <= NAME_MAX or not 0 < len(content.token) <= TOKEN_MAX:
        raise PeerError("bad_grant")
    if len({right.target for right in content.rights}) != len(content.rights):
        raise PeerError("bad_grant")
    return content


def _right_untrusted(item: Any) -> Right:
    if type(item) is not tuple or tuple(map(type, item)) != (str, int, bytes, tuple):
        raise PeerError("bad_grant")
    target, mailbox, key, methods = item
    if not 0 < len(target) <= NAME_MAX or not 0 <= mailbox < _U64 or len(key) != KEY_BYTES:
        raise PeerError("bad_grant")
    if len(methods) > METHODS_MAX or not all(type(name) is str and 0 < len(name) <= NAME_MAX for name in methods):
        raise PeerError("bad_grant")
    return Right(target, mailbox, key, methods)


def _array_untrusted(data: bytes, cap: int, word: str) -> tuple[Any, ...]:
    """Return a versioned positional array without maps and extensions. The caps hold before memory is taken."""
    if not 0 < len(data) <= cap:
        raise PeerError(word)
    try:
        fields = msgpack.unpackb(
            data, use_list=False, raw=False, max_array_len=RIGHTS_MAX, max_map_len=0, max_ext_len=0
        )
    except Exception as error:  # msgpack raises half a dozen classes; all of them mean the same here
        raise PeerError(word) from error
    if type(fields) is not tuple or not fields or type(fields[0]) is not int or fields[0] != VERSION:
        raise PeerError(word)
    return fields


def seal_grant(
    plaintext: bytes, digest: bytes, ephemeral_public: bytes, number: int, sign: Callable[[bytes], bytes]
) -> tuple[bytes, bytes]:
    """Return (ciphertext, signature) of a grant for the open of that digest. `sign` is the issuer's Ed25519.

    Raises PeerError if the client's ephemeral key is no usable point (RFC 7748, section 6.1).
    """
    try:
        public = X25519PublicKey.from_public_bytes(ephemeral_public)
        ciphertext = hpke.SUITE.encrypt(plaintext, public, info=GRANT_DOMAIN + digest)
    except ValueError as error:  # a low-order point: the shared secret would be zero for everyone
        raise PeerError("open_ephemeral") from error
    return ciphertext, sign(_signed(digest, number, ciphertext))


def open_grant_untrusted(
    ephemeral_private: X25519PrivateKey,
    digest: bytes,
    issuer_public: bytes,
    last_number: int,
    number: int,
    ciphertext: bytes,
    signature: bytes,
) -> GrantContent:
    """Return the content of a genuine grant for our open; raise PeerError.

    The signature comes first: nothing of an unsigned grant is decrypted or read. `number` must be above the last
    one that was accepted, so that no earlier grant can be played again.
    """
    if len(ciphertext) > GRANT_MAX or not 0 < number < _U64:
        raise PeerError("bad_grant")
    try:
        issuer = Ed25519PublicKey.from_public_bytes(issuer_public)
        issuer.verify(signature, _signed(digest, number, ciphertext))
    except (InvalidSignature, ValueError) as error:
        raise PeerError("grant_signature") from error
    if number <= last_number:
        raise PeerError("grant_number")
    try:
        plaintext = hpke.SUITE.decrypt(ciphertext, ephemeral_private, info=GRANT_DOMAIN + digest)
    except (InvalidTag, ValueError) as error:
        raise PeerError("grant_sealing") from error
    return parse_grant_untrusted(plaintext)


def _signed(digest: bytes, number: int, ciphertext: bytes) -> bytes:
    return b"".join((GRANT_DOMAIN, digest, number.to_bytes(8, "big"), ciphertext))
