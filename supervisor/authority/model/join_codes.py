"""Join codes that were printed and not used yet. Pure; kept in the state, without their secrets.

A secret is derived from the id by a key that only the authority has, so nothing of it is stored, and an id that was
never given is answered in the same time as one with a wrong MAC. With another master_key the codes of before end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tlsrt.channels.session.enrolment import ID_BYTES
from tlsrt.errors import ConfigError

LIFE_MS = 600_000
TRIES_MAX = 5  # with a wrong MAC; then the code ends
CODES_MAX = 256

Randomness = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class PendingCode:
    """A join code: its client, its end (wall, ms), its version of master_key, and wrong tries."""

    code_id: bytes
    name: str
    ends: int
    key_version: int
    tries: int = 0


class JoinCodes:
    """All of them, over the map that the state keeps. Times are wall time in ms."""

    def __init__(self, codes: dict[bytes, PendingCode], randomness: Randomness) -> None:
        self._codes = codes
        self._randomness = randomness

    def make(self, name: str, key_version: int, wall: int) -> PendingCode:
        """Return a new code for a client, which counts once it was admitted."""
        return PendingCode(self._randomness(ID_BYTES), name, wall + LIFE_MS, key_version)

    def admit(self, code: PendingCode, wall: int) -> bool:
        """Take a new code in place of an earlier one of its client; False if too many are waiting."""
        self.drop(code.name)
        self.prune(wall)
        if len(self._codes) >= CODES_MAX:
            return False
        self._codes[code.code_id] = code
        return True

    def get(self, code_id: bytes, key_version: int, wall: int) -> PendingCode | None:
        """Return a code that may be used now. One that was made after now is none: the clock was set back."""
        code = self._codes.get(code_id)
        if code is None or code.key_version != key_version or not wall < code.ends <= wall + LIFE_MS:
            return None
        return code

    def use(self, code: PendingCode) -> None:
        """End a code."""
        self._codes.pop(code.code_id, None)

    def miss(self, code: PendingCode) -> bool:
        """Count a wrong MAC; tell whether that was one too many, and the code has ended."""
        if code.tries + 1 >= TRIES_MAX:
            self.use(code)
            return True
        self._codes[code.code_id] = replace(code, tries=code.tries + 1)
        return False

    def put(self, code: PendingCode) -> None:
        """Take a code back that was used for nothing."""
        self._codes[code.code_id] = code

    def of(self, name: str) -> PendingCode | None:
        """Return the code of a client."""
        return next((code for code in self._codes.values() if code.name == name), None)

    def drop(self, name: str) -> None:
        """End the codes of a client."""
        for code in [code for code in self._codes.values() if code.name == name]:
            self.use(code)

    def prune(self, wall: int) -> None:
        """Forget those that have ended."""
        for code in [code for code in self._codes.values() if not wall < code.ends <= wall + LIFE_MS]:
            self.use(code)

    def __len__(self) -> int:
        return len(self._codes)


def encode_codes(codes: Mapping[bytes, PendingCode]) -> list[list[object]]:
    """Return the codes as msgpack takes them."""
    return [[each.code_id, each.name, each.ends, each.key_version, each.tries] for each in codes.values()]


def decode_codes(items: Any) -> dict[bytes, PendingCode]:
    """Return the codes in what was unpacked. Raise ConfigError for anything that `encode_codes` does not make."""
    found: dict[bytes, PendingCode] = {}
    for item in items:
        if not isinstance(item, list) or list(map(type, item)) != [bytes, str, int, int, int]:
            raise ConfigError("not a join code")
        code = PendingCode(*item)
        found[code.code_id] = code
    return found
