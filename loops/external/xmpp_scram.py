"""SCRAM (RFC 5802, 7677): a login that shows the server no password, and in which the server proves that it knows it.

slixmpp's own takes a `success` without that proof, any number of iterations, and a nonce of `random.random()`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

MECHANISMS = {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}  # the best first
LEAST, MOST = 4096, 1_000_000  # iterations: RFC 7677, section 4; and half a second of a processor
_SALT = 1024


class XmppError(Exception):
    """The server breaks a rule, refuses, or has ended the connection; the text is for the operator."""


class Scram:
    """One login, sans-IO: `first`, then `final` with the server's answer, then `verify`."""

    def __init__(self, mechanism: str, user: str, password: str, nonce: str) -> None:
        self._hash = MECHANISMS[mechanism]
        self._password = password.encode()
        self._nonce = nonce
        name = user.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={nonce}"
        self._signature: bytes | None = None

    def first(self) -> bytes:
        """Return the first message."""
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """Return the second message. Raises XmppError."""
        values = _values_untrusted(challenge)
        try:
            salt, count = base64.b64decode(values["s"], validate=True), int(values["i"])
        except (KeyError, ValueError, binascii.Error):
            raise XmppError("its answer to the login has no salt, or no number of iterations") from None
        nonce = values.get("r", "")
        if "m" in values or not nonce.startswith(self._nonce) or len(nonce) <= len(self._nonce):
            raise XmppError("its answer to the login is for another one")
        if not LEAST <= count <= MOST or not 0 < len(salt) <= _SALT:
            raise XmppError(f"it asks for {count} iterations at the login: {LEAST} to {MOST} are done")
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, count)
        key = self._mac(salted, b"Client Key")
        final = f"c=biws,r={nonce}"
        words = b",".join((self._bare.encode(), challenge, final.encode()))
        proof = bytes(a ^ b for a, b in zip(key, self._mac(hashlib.new(self._hash, key).digest(), words), strict=True))
        self._signature = self._mac(self._mac(salted, b"Server Key"), words)
        return f"{final},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, answer: bytes) -> None:
        """Check that the server knows the password. Raises XmppError."""
        values = _values_untrusted(answer)
        try:
            signature = base64.b64decode(values.get("v", ""), validate=True)
        except binascii.Error:
            signature = b""
        if self._signature is None or not hmac.compare_digest(signature, self._signature):
            raise XmppError("it does not prove that it knows the password: it is not the server of this account")

    def _mac(self, key: bytes, words: bytes) -> bytes:
        return hmac.digest(key, words, self._hash)


def _values_untrusted(message: bytes) -> dict[str, str]:
    try:
        pairs = [part.partition("=") for part in message.decode().split(",")]
    except UnicodeDecodeError:
        raise XmppError("its answer to the login is no text") from None
    return {name: value for name, _, value in pairs}
