"""The key of an account with a CA, and what it signs: JWS with ES256 (RFC 7515, RFC 8555 section 6.2). Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tlsrt.errors import MisuseError

_BYTES = 32  # of a coordinate, and of half a signature


def base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class AccountKey:
    """A key on P-256."""

    def __init__(self, der: bytes) -> None:
        key = load_der_private_key(der, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise MisuseError("the key of an account is one of P-256")
        self._key = key
        numbers = key.public_key().public_numbers()
        x, y = (base64url(number.to_bytes(_BYTES, "big")) for number in (numbers.x, numbers.y))
        self._public = {"crv": "P-256", "kty": "EC", "x": x, "y": y}  # in the order that a thumbprint has (RFC 7638)

    @property
    def thumbprint(self) -> str:
        """Return the thumbprint of the public key (RFC 7638)."""
        return base64url(hashlib.sha256(_compact(self._public)).digest())

    def sign(self, url: str, nonce: str, payload: object, account: str) -> bytes:
        """Return the body of a request. Without an `account` its key is in it; a payload of None is POST-as-GET."""
        who: dict[str, Any] = {"kid": account} if account else {"jwk": self._public}
        protected = base64url(_compact({"alg": "ES256", "nonce": nonce, "url": url, **who}))
        body = "" if payload is None else base64url(_compact(payload))
        r, s = decode_dss_signature(self._key.sign(f"{protected}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
        signature = base64url(r.to_bytes(_BYTES, "big") + s.to_bytes(_BYTES, "big"))
        return _compact({"protected": protected, "payload": body, "signature": signature})


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
