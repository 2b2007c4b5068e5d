"""Challenges to clients that open sessions: single use, short-lived, bounded. Pure."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable

from tlsrt.errors import PeerError

CHALLENGE_BYTES = 32
CHALLENGE_MS = 10_000
CHALLENGES_MAX = 1024  # a Primary that asks for more loses its oldest, and costs no other memory


class Challenges:
    """At most one challenge per connection."""

    def __init__(self, randomness: Callable[[int], bytes]) -> None:
        self._randomness = randomness
        self._open: OrderedDict[int, tuple[bytes, int]] = OrderedDict()

    def make(self, connection: int, now: int) -> bytes:
        """Return a challenge for a connection, good for 10 s. An earlier one of that connection ends."""
        self._open.pop(connection, None)
        if len(self._open) >= CHALLENGES_MAX:
            self._open.popitem(last=False)
        challenge = self._randomness(CHALLENGE_BYTES)
        self._open[connection] = (challenge, now + CHALLENGE_MS)
        return challenge

    def use(self, connection: int, challenge: bytes, now: int) -> None:
        """Take a challenge out, right or wrong; raise PeerError if it is not the one, or too old."""
        expected, until = self._open.pop(connection, (b"", 0))
        if not expected or not hmac.compare_digest(expected, challenge):
            raise PeerError("challenge_unknown")
        if now >= until:
            raise PeerError("challenge_expired")

    def take(self, connection: int, now: int) -> bytes:
        """Take a challenge out, for a statement that has to be about it. Raise PeerError if there is none any more."""
        challenge, until = self._open.pop(connection, (b"", 0))
        if not challenge:
            raise PeerError("challenge_unknown")
        if now >= until:
            raise PeerError("challenge_expired")
        return challenge

    def clear(self) -> None:
        """Forget all: their connections have died."""
        self._open.clear()

    def __len__(self) -> int:
        return len(self._open)
