"""STUN and TURN servers for browsers, with credentials that end soon. Pure.

A browser in a network that lets nothing but a TURN server through gets its sound by that: the host hears it from an
address of the server, which proves itself as any other. The browser gets a name with an end and its HMAC-SHA1
(draft-uberti-behave-turn-rest-00, `use-auth-secret` of coturn), and never the secret of which they are made.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from typing import Any

CREDENTIALS_S = 3600  # a server asks for them when a call begins, and lets one that is there go on
SECRET_BYTES = (16, 256)
UNSET = "servers names a TURN server: set the secret turn, its static-auth-secret, of 16 to 256 bytes"
_HOST = r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
_URI = re.compile(rf"(stuns?|turns?):{_HOST}(?::([0-9]{{1,5}}))?(\?transport=(?:udp|tcp))?")


def check_server(uri: str) -> None:
    """Raise ValueError for what is no URI of a STUN or TURN server (RFC 7064, RFC 7065)."""
    found = _URI.fullmatch(uri)
    if found is None or not 0 < int(found[2] or 1) < 65536 or (found[3] and found[1].startswith("stun")):
        raise ValueError(f"servers: {uri!r} is none: write stun:HOST, turn:HOST, turns:HOST:443?transport=tcp")


class Relays:
    """The servers of all callers. `secret` is asked only where one is of TURN; `wrong` is why those are not told."""

    def __init__(self, uris: list[str], secret: Callable[[], bytes | None]) -> None:
        self._plain = [uri for uri in uris if uri.startswith("stun")]
        self._relays = [uri for uri in uris if uri.startswith("turn")]
        self._secret = (secret() or b"").strip() if self._relays else b""
        self.wrong = ""
        if self._relays and not SECRET_BYTES[0] <= len(self._secret) <= SECRET_BYTES[1]:
            self.wrong, self._relays = UNSET, []

    def no_sound(self) -> str:
        """Say why a call has ended that was answered, and for which no sound of the browser came."""
        words = "no sound arrived: the browser does not reach the port"
        return words if self._relays else f"{words}, and there is no TURN server in option servers"

    def of(self, name: str, now_s: int) -> dict[str, Any]:
        """Return the `ice_servers` of an RTCPeerConnection of a client, and until when a call may begin with them."""
        found: list[dict[str, Any]] = [{"urls": self._plain}] if self._plain else []
        if self._relays:
            user, password = credentials(self._secret, name, now_s)
            found.append({"urls": self._relays, "username": user, "credential": password})
        return {"ice_servers": found, "until_ms": (now_s + CREDENTIALS_S) * 1000}


def credentials(secret: bytes, name: str, now_s: int) -> tuple[str, str]:
    """Return user name and password of a client or component for CREDENTIALS_S from now."""
    user = f"{now_s + CREDENTIALS_S}:{name}"
    return user, base64.b64encode(hmac.digest(secret, user.encode(), "sha1")).decode()
