"""Digest authentication (RFC 3261, 22; RFC 7616; RFC 8760): of those who ask this host. Pure.

A nonce belongs to one connection and each of its counts is taken once, so what an attacker has recorded opens nothing
elsewhere and nothing twice.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

from tlsrt.loops.sip.message import SipError

NONCES = 4  # that a connection has open
LIFE_S = 300.0
_PAIR = re.compile(r'[ \t]*([A-Za-z0-9-]{1,32})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))[ \t]*(?:,|$)')
_HASHES: Mapping[str, str] = {"SHA-256": "sha256", "MD5": "md5"}
Verdict = Literal["stale", "wrong", "right"]


def fields_untrusted(value: str) -> dict[str, str]:
    """Return the fields of a value that begins with `Digest`. Raises SipError."""
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "digest" or len(rest) > 2048:
        raise SipError("an authorization that is none by digest")
    found: dict[str, str] = {}
    at = 0
    while at < len(rest):
        one = _PAIR.match(rest, at)
        if one is None or one[1].lower() in found:
            raise SipError("an authorization with fields that are none, or there twice")
        found[one[1].lower()] = re.sub(r"\\(.)", r"\1", one[2]) if one[2] is not None else one[3]
        at = one.end()
    return found


def _hash(algorithm: str, *parts: str) -> str:
    return hashlib.new(_HASHES[algorithm], ":".join(parts).encode(), usedforsecurity=False).hexdigest()


def response_of(
    algorithm: str, user: str, realm: str, password: str, nonce: str, count: str, client_nonce: str, method: str,
    uri: str,
) -> str:  # fmt: skip
    """Return what proves the password (RFC 7616, 3.4.1, with qop=auth). `algorithm` is SHA-256 or MD5."""
    first, second = _hash(algorithm, user, realm, password), _hash(algorithm, method, uri)
    return _hash(algorithm, first, nonce, count, client_nonce, "auth", second)


class Authenticator:
    """Asks who is at the other end of one connection, and judges the answers."""

    def __init__(
        self, realm: str, passwords: Mapping[str, str], by_md5: frozenset[str], random: Callable[[int], bytes]
    ) -> None:
        self._realm = realm
        self._passwords = passwords
        self._by_md5 = by_md5
        self._random = random
        self._nonces: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, and the last count
        self._nobody = random(16).hex()  # a password that no one has, so that an unknown user costs the same

    def _algorithm(self, user: str) -> str:
        return "MD5" if user in self._by_md5 else "SHA-256"

    def challenge(self, user: str, now_s: float, *, is_stale: bool = False) -> str:
        """Return the value of WWW-Authenticate for who says that it is `user`.

        It is one: libre, for one, fails by a second challenge with SHA-256 beside that with MD5.
        """
        nonce = self._random(24).hex()
        self._nonces[nonce] = (now_s, 0)
        while len(self._nonces) > NONCES:
            self._nonces.popitem(last=False)
        stale = ", stale=true" if is_stale else ""
        return f'Digest realm="{self._realm}", nonce="{nonce}", algorithm={self._algorithm(user)}, qop="auth"{stale}'

    def judge_untrusted(self, value: str, method: str, uri: str, now_s: float) -> tuple[Verdict, str]:
        """Judge an Authorization; return the verdict, and the user, proven if it is right. Raises SipError."""
        fields = fields_untrusted(value)
        user, nonce, count = fields.get("username", ""), fields.get("nonce", ""), fields.get("nc", "")
        algorithm = fields.get("algorithm", "MD5").upper()
        if (
            algorithm != self._algorithm(user) or fields.get("realm") != self._realm or fields.get("qop") != "auth"
            or fields.get("uri") != uri or not re.fullmatch(r"[0-9a-fA-F]{8}", count)
            or not 1 <= len(fields.get("cnonce", "")) <= 256
        ):  # fmt: skip
            return "wrong", user
        known = self._nonces.get(nonce)
        password = self._passwords.get(user)
        expected = response_of(
            algorithm, user, self._realm, self._nobody if password is None else password, nonce, count,
            fields["cnonce"], method, uri,
        )  # fmt: skip
        is_right = hmac.compare_digest(expected.encode(), fields.get("response", "").lower().encode())
        if not is_right or password is None:
            return ("stale" if known is None else "wrong"), user
        if known is None or now_s - known[0] > LIFE_S or int(count, 16) <= known[1]:
            return "stale", user
        self._nonces[nonce] = (known[0], int(count, 16))
        return "right", user
