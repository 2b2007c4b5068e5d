"""Decoys at the gate and the door: who touches what nobody has a reason to touch. Pure and bounded.

The gate looks here wherever it looks up rights, and answers as it would without looking: what is no decoy and what is
one cost the same, and what follows from a touch begins after the answer has left. Its fast lane never sees a decoy
first: what it recognises has passed here before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tlsrt.config.canaries import CanaryHashes
from tlsrt.config.deception import DeceptionConfig
from tlsrt.loops.gate.state import Origin

WAITING_MAX = 64
SEEN_MAX = 1024


class DecoyAccess(NamedTuple):
    """Somebody's proven session asked for a decoy."""

    session: bytes
    target: str
    method: str


class Use(NamedTuple):
    """A canary was used, or a decoy of another kind: what, and whom it came from, of which only one is said."""

    what: str
    loop: str = ""
    session: bytes = b""
    address: str = ""


class Decoys:
    """The names, and the touches that wait to be told. The same touch of the same session is told once."""

    def __init__(self, config: DeceptionConfig | None = None) -> None:
        config = config or DeceptionConfig()
        self._components = frozenset(config.components)
        self._methods = frozenset(config.methods)
        self._paths = frozenset(config.paths)
        self.canaries = CanaryHashes()
        self._trial = ""
        self._seen: set[DecoyAccess | Use] = set()
        self._waiting: list[DecoyAccess | Use] = []
        self.on_touch: Callable[[], None] = lambda: None  # the first of those that wait

    def try_with(self, target: str) -> None:
        """Take a name as a decoy, once: so the authority sees that it would hear of the others."""
        self._trial = target

    def look(self, session: bytes, target: str, method: str) -> None:
        """See who asks for what, after the proof that it is this session."""
        if target in self._components or (target, method) in self._methods or target == self._trial:
            self._note(DecoyAccess(session, target, method))

    def look_at_token(self, token: bytes, origin: Origin) -> None:
        """See a token that was refused; whoever brings it is known by the socket."""
        number = self.canaries.token(token)
        if number is not None:
            self._note(Use(f"token {number}", origin.loop, origin.session))

    def look_at_client(self, certificate: bytes, address: str) -> None:
        """See the certificate (DER) of a client whose handshake is done: it holds the key."""
        number = self.canaries.client(certificate)
        if number is not None:
            self._note(Use(f"client {number}", address=address))

    def look_at_stranger(self, address: str) -> None:
        """See somebody who has said something to the decoy endpoint."""
        self._note(Use("endpoint", address=address))

    def look_at_request(self, target: str, authorization: str, session: bytes, address: str) -> None:
        """See an HTTP request: its target and the header Authorization; the session may not be open yet."""
        path = target.partition("?")[0]
        number = self.canaries.token_in(authorization) if authorization else None
        if path in self._paths:
            self._note(Use(f"path {path}", "", session, "" if session else address))
        if number is not None:
            self._note(Use(f"token {number}", "", session, "" if session else address))

    def _note(self, touch: DecoyAccess | Use) -> None:
        if touch in self._seen or len(self._waiting) >= WAITING_MAX:
            return
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        self._seen.add(touch)
        self._waiting.append(touch)
        if len(self._waiting) == 1:
            self.on_touch()

    def take(self) -> list[DecoyAccess | Use]:
        """Return the touches that wait, and forget that they do."""
        found, self._waiting = self._waiting, []
        if any(isinstance(touch, DecoyAccess) and touch.target == self._trial for touch in found):
            self._trial = ""
        return found

    def put_back(self, touches: list[DecoyAccess | Use]) -> None:
        """They could not be told now."""
        self._waiting = (touches + self._waiting)[:WAITING_MAX]
