"""A TLS 1.3 client made of single messages, for what no TLS library can be made to send. Bytes in, bytes out.

X25519, TLS_AES_128_GCM_SHA256, ECDSA P-256: enough to finish an honest handshake (RFC 8446), with every message and
every record in the test's hands. It checks nothing of the server but its Finished; OpenSSL's own client does that
elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509 import load_pem_x509_certificate

CCS, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, CERTIFICATE_REQUEST, VERIFY, FINISHED, KEY_UPDATE = 1, 2, 11, 13, 15, 20, 24
SERVER_NAME, GROUPS, SIGNATURES, ALPN, VERSIONS, KEY_SHARE = 0, 10, 13, 16, 43, 51
X25519, P256 = 0x001D, 0x0017
ECDSA_P256 = b"\x04\x03"
RETRY = hashlib.sha256(b"HelloRetryRequest").digest()  # the random of a ServerHello that asks for another hello
PLAIN_MAX = 16384


def vector(data: bytes, size: int) -> bytes:
    """Return data with its length in `size` bytes before it."""
    return len(data).to_bytes(size, "big") + data


def message(kind: int, body: bytes) -> bytes:
    """Return a handshake message."""
    return bytes((kind,)) + vector(body, 3)


def record(kind: int, payload: bytes, version: bytes = b"\x03\x03") -> bytes:
    """Return one record, whatever its length."""
    return bytes((kind,)) + version + vector(payload, 2)


def _label(secret: bytes, label: str, context: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, section 7.1); one block is enough."""
    info = size.to_bytes(2, "big") + vector(b"tls13 " + label.encode(), 1) + vector(context, 1)
    return hmac.digest(secret, info + b"\x01", "sha256")[:size]


class Keys:
    """One direction under one secret."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._key = AESGCM(_label(secret, "key", b"", 16))
        self._iv = int.from_bytes(_label(secret, "iv", b"", 12), "big")
        self._seq = 0

    def _nonce(self) -> bytes:
        self._seq += 1
        return (self._iv ^ (self._seq - 1)).to_bytes(12, "big")

    def seal(self, kind: int, payload: bytes, padding: int = 0) -> bytes:
        inner = payload + bytes((kind,)) + bytes(padding)
        head = bytes((DATA, 3, 3)) + (len(inner) + 16).to_bytes(2, "big")
        return head + self._key.encrypt(self._nonce(), inner, head)

    def open(self, head: bytes, payload: bytes) -> tuple[int, bytes]:
        inner = self._key.decrypt(self._nonce(), payload, head).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def updated(self) -> Keys:
        """The keys after a KeyUpdate."""
        return Keys(_label(self.secret, "traffic upd", b"", 32))

    def finished(self, transcript: bytes) -> bytes:
        return hmac.digest(_label(self.secret, "finished", b"", 32), hashlib.sha256(transcript).digest(), "sha256")


@dataclass
class Hello:
    """A ClientHello, with everything to change."""

    extensions: dict[int, bytes]
    version: bytes = b"\x03\x03"
    random: bytes = field(default_factory=lambda: os.urandom(32))
    session: bytes = field(default_factory=lambda: os.urandom(32))
    suites: bytes = b"\x13\x01"
    compressions: bytes = b"\0"
    more: tuple[tuple[int, bytes], ...] = ()  # extensions after the others, twice the same too
    tail: bytes = b""

    def encode(self) -> bytes:
        listed = [*self.extensions.items(), *self.more]
        extensions = b"".join(kind.to_bytes(2, "big") + vector(data, 2) for kind, data in listed)
        return message(
            CLIENT_HELLO,
            self.version + self.random + vector(self.session, 1) + vector(self.suites, 2)
            + vector(self.compressions, 1) + vector(extensions, 2) + self.tail,
        )  # fmt: skip


def protocols(names: Iterable[str]) -> bytes:
    """Return the ALPN extension's contents."""
    return vector(b"".join(vector(name.encode(), 1) for name in names), 2)


class RawTls:
    """One connection. `take` what the server sends; what was understood is in the lists below."""

    def __init__(self, certificate_pem: bytes = b"", key_pem: bytes = b"", alpn: Iterable[str] = ("tlsrt/1",)) -> None:
        self.private = X25519PrivateKey.generate()
        share = self.private.public_key().public_bytes_raw()
        self.hello = Hello({
            GROUPS: vector(X25519.to_bytes(2, "big") + P256.to_bytes(2, "big"), 2),
            SIGNATURES: vector(ECDSA_P256 + b"\x08\x04", 2),
            ALPN: protocols(alpn),
            VERSIONS: b"\x02\x03\x04",
            KEY_SHARE: vector(X25519.to_bytes(2, "big") + vector(share, 2), 2),
        })  # fmt: skip
        if not alpn:
            del self.hello.extensions[ALPN]
        self.certificate = (
            load_pem_x509_certificate(certificate_pem).public_bytes(serialization.Encoding.DER)
            if certificate_pem else b""
        )  # fmt: skip
        self.signer = serialization.load_pem_private_key(key_pem, None) if key_pem else None
        self.transcript = b""
        self.reading: Keys | None = None
        self.writing: Keys | None = None
        self.alerts: list[tuple[int, int]] = []  # level, description
        self.encrypted: list[bool] = []  # whether each of them was
        self.messages: list[int] = []  # kinds of handshake messages
        self.data = b""
        self.retried = False
        self.context = b""
        self.certificate_request = b""  # its extensions
        self._held = b""
        self._fragments = b""
        self._application: tuple[bytes, bytes] = (b"", b"")

    # -- the server's bytes --------------------------------------------------------------------------------------

    def take(self, data: bytes) -> RawTls:
        """Read records of the server."""
        self._held += data
        while len(self._held) >= 5:
            end = 5 + int.from_bytes(self._held[3:5], "big")
            if len(self._held) < end:
                break
            head, payload, self._held = self._held[:5], self._held[5:end], self._held[end:]
            kind, is_sealed = head[0], False
            if kind == DATA and self.reading is not None:
                kind, payload = self.reading.open(head, payload)
                is_sealed = True
            if kind == ALERT:
                self.alerts.append((payload[0], payload[1]))
                self.encrypted.append(is_sealed)
            elif kind == HANDSHAKE:
                self._take_messages(payload)
            elif kind == DATA:
                self.data += payload
        return self

    def _take_messages(self, payload: bytes) -> None:
        self._fragments += payload
        while len(self._fragments) >= 4:
            end = 4 + int.from_bytes(self._fragments[1:4], "big")
            if len(self._fragments) < end:
                return
            whole, self._fragments = self._fragments[:end], self._fragments[end:]
            self._take_message(whole[0], whole[4:], whole)

    def _take_message(self, kind: int, body: bytes, whole: bytes) -> None:
        self.messages.append(kind)
        if kind == SERVER_HELLO:
            self._server_hello(body, whole)
            return
        if kind == FINISHED:
            assert self.reading is not None
            assert body == self.reading.finished(self.transcript), "the server's Finished is wrong"
            self.transcript += whole
            self._application = self._application_secrets()
            return
        if kind == CERTIFICATE_REQUEST:
            self.context = body[1 : 1 + body[0]]
            self.certificate_request = body[1 + body[0] + 2 :]
        if kind == KEY_UPDATE:
            assert self.reading is not None
            self.reading = self.reading.updated()
            return
        self.transcript += whole

    def _server_hello(self, body: bytes, whole: bytes) -> None:
        if body[2:34] == RETRY:
            self.retried = True
            self.transcript = message(254, hashlib.sha256(self.transcript).digest()) + whole
            return
        self.transcript += whole
        at = 35 + body[34] + 3
        extensions: dict[int, bytes] = {}
        end, at = at + 2 + int.from_bytes(body[at : at + 2], "big"), at + 2
        while at < end:
            size = int.from_bytes(body[at + 2 : at + 4], "big")
            extensions[int.from_bytes(body[at : at + 2], "big")] = body[at + 4 : at + 4 + size]
            at += 4 + size
        share = extensions[KEY_SHARE]
        shared = self.private.exchange(X25519PublicKey.from_public_bytes(share[4:]))
        early = hmac.digest(bytes(32), bytes(32), "sha256")
        empty = hashlib.sha256(b"").digest()
        self._handshake = hmac.digest(_label(early, "derived", empty, 32), shared, "sha256")
        digest = hashlib.sha256(self.transcript).digest()
        self.reading = Keys(_label(self._handshake, "s hs traffic", digest, 32))
        self.writing = Keys(_label(self._handshake, "c hs traffic", digest, 32))

    def _application_secrets(self) -> tuple[bytes, bytes]:
        empty = hashlib.sha256(b"").digest()
        master = hmac.digest(_label(self._handshake, "derived", empty, 32), bytes(32), "sha256")
        digest = hashlib.sha256(self.transcript).digest()
        self.reading = Keys(_label(master, "s ap traffic", digest, 32))
        return _label(master, "c ap traffic", digest, 32), digest

    # -- ours ----------------------------------------------------------------------------------------------------

    def first(self, **changes: object) -> bytes:
        """Return the ClientHello in as few records as can be; `changes` are fields of Hello."""
        for name, value in changes.items():
            setattr(self.hello, name, value)
        whole = self.hello.encode()
        self.transcript += whole
        pieces = [whole[at : at + PLAIN_MAX] for at in range(0, len(whole), PLAIN_MAX)]
        return b"".join(record(HANDSHAKE, piece, b"\x03\x01") for piece in pieces)

    def certificate_message(self, certificate: bytes | None = None) -> bytes:
        """Return our Certificate; an empty one has none."""
        shown = self.certificate if certificate is None else certificate
        entry = vector(shown, 3) + b"\0\0" if shown else b""
        return message(CERTIFICATE, vector(self.context, 1) + vector(entry, 3))

    def verify_message(self, transcript: bytes, scheme: bytes = ECDSA_P256) -> bytes:
        """Return our CertificateVerify over a transcript."""
        assert isinstance(self.signer, ec.EllipticCurvePrivateKey)
        covered = b" " * 64 + b"TLS 1.3, client CertificateVerify\0" + hashlib.sha256(transcript).digest()
        return message(VERIFY, scheme + vector(self.signer.sign(covered, ec.ECDSA(hashes.SHA256())), 2))

    def finished_message(self, transcript: bytes) -> bytes:
        assert self.writing is not None
        return message(FINISHED, self.writing.finished(transcript))

    def flight(self) -> list[bytes]:
        """Return our second flight, message by message; the transcript grows with it."""
        messages: list[bytes] = []
        if CERTIFICATE_REQUEST in self.messages:
            messages.append(self.certificate_message())
            if self.certificate:
                messages.append(self.verify_message(self.transcript + messages[0]))
        messages.append(self.finished_message(self.transcript + b"".join(messages)))
        self.transcript += b"".join(messages)
        return messages

    def seal(self, kind: int, payload: bytes, padding: int = 0) -> bytes:
        assert self.writing is not None
        return self.writing.seal(kind, payload, padding)

    def begin(self) -> None:
        """Write under application keys from now on."""
        self.writing = Keys(self._application[0])

    def second(self) -> bytes:
        """Return the whole second flight as one record, and begin."""
        sealed = self.seal(HANDSHAKE, b"".join(self.flight()))
        self.begin()
        return sealed

    def update(self, request: int = 0) -> bytes:
        """Return a KeyUpdate, and write under the next keys."""
        sealed = self.seal(HANDSHAKE, message(KEY_UPDATE, bytes((request,))))
        assert self.writing is not None
        self.writing = self.writing.updated()
        return sealed
