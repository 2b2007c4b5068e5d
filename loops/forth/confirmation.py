"""Actions that end the machine are asked for, and confirmed with a code by the same caller within a minute. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from tlsrt import Busy, Denied, NotFound

VALID_S = 60.0
TRIES = 3  # wrong codes, after which a request is forgotten
MOST = 16  # requests that wait, each of another caller


@dataclass
class _Request:
    action: str
    code: str
    until: float
    tries: int = 0


class Confirmations:
    """The one request of each caller. `draw` returns a new code."""

    def __init__(self, draw: Callable[[], str]) -> None:
        self._draw = draw
        self._requests: dict[str, _Request] = {}

    def request(self, caller: str, action: str, now: float) -> str:
        """Note what a caller asks for, in the place of what it asked before, and return the code. Raises Busy."""
        self._requests = {name: one for name, one in self._requests.items() if now < one.until and name != caller}
        if len(self._requests) >= MOST:
            raise Busy(f"{MOST} requests wait to be confirmed: try again in a minute")
        made = self._requests[caller] = _Request(action, self._draw(), now + VALID_S)
        return made.code

    def confirm(self, caller: str, code: str, now: float) -> str:
        """Return the action that the caller has asked for, once. Raises NotFound, and Denied for a wrong code."""
        found = self._requests.get(caller)
        if found is None or now >= found.until:
            self._requests.pop(caller, None)
            raise NotFound(f"nothing waits for a code of yours: `request` gives one that is valid for {VALID_S:g} s")
        if not hmac.compare_digest(found.code.encode(), code.encode()):
            found.tries += 1
            if found.tries >= TRIES:
                del self._requests[caller]
            raise Denied("that is not the code which `request` gave you")
        del self._requests[caller]
        return found.action
