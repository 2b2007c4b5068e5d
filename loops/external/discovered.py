"""Services that others announce: what is kept of them, bounded, and as text that no terminal obeys (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SERVICES_MAX = 256  # of all types together
ADDRESSES_MAX, ENTRIES_MAX = 8, 16
_NAME_MAX, _KEY_MAX, _VALUE_MAX = 255, 64, 255  # characters; RFC 6763 has 63 bytes for a name, 255 for an entry


def plain(text: str, most: int = _NAME_MAX) -> str:
    """Return a text of the network with what is not printable escaped, cut after so many characters.

    That is control characters and escapes, but also the marks that turn the direction of a line (Unicode Cf).
    """
    shown = "".join(
        sign if sign.isprintable() and sign != "\\" else sign.encode("unicode_escape").decode() for sign in text[:most]
    )
    return shown[:most]


def plain_text(entries: Mapping[bytes, bytes | None]) -> dict[str, str | None]:
    """Return the entries of a TXT record as text: at most 16, each of bounded length; None for a key without value."""
    found: dict[str, str | None] = {}
    for key, value in entries.items():
        if len(found) >= ENTRIES_MAX:
            break
        text = None if value is None else plain(value[:_VALUE_MAX].decode("utf-8", "replace"), _VALUE_MAX)
        found[plain(key.decode("utf-8", "replace"), _KEY_MAX)] = text
    return found


@dataclass(frozen=True, slots=True)
class Found:
    """One service as it is told."""

    name: str
    type: str
    host: str
    port: int
    addresses: tuple[str, ...]
    txt: Mapping[str, str | None]

    def told(self) -> dict[str, Any]:
        """Return it as an answer or event."""
        return {
            "name": self.name, "type": self.type, "host": self.host, "port": self.port,
            "addresses": [*self.addresses], "txt": dict(self.txt),
        }  # fmt: skip


def found_of(
    full_name: str, kind: str, host: str, port: int, addresses: Iterable[str], txt: Mapping[bytes, bytes | None]
) -> Found:
    """Return a service out of what the network says, within bounds."""
    name = full_name.removesuffix(f".{kind}")
    some = tuple(plain(one) for _, one in zip(range(ADDRESSES_MAX), addresses, strict=False))
    return Found(plain(name), kind, plain(host), port, some, plain_text(txt))


class DiscoveredServices:
    """What is there now, by the name that it has on the network. Times are monotonic, in seconds."""

    def __init__(self, most: int = SERVICES_MAX) -> None:
        self._most = most
        self._services: dict[str, tuple[Found, float, float]] = {}  # and since when, and when it was last heard of
        self.left_out = 0

    def put(self, full_name: str, found: Found, now: float) -> bool:
        """Keep a service; True if that is news. One that there is no room for is counted, and left out."""
        known = self._services.get(full_name)
        if known is None and len(self._services) >= self._most:
            self.left_out += 1
            return False
        self._services[full_name] = found, now if known is None else known[1], now
        return known is None or known[0] != found

    def stale(self, now: float, after_s: float) -> list[tuple[str, str]]:
        """Return type and name of those that were not heard of for some time."""
        return [(found.type, name) for name, (found, _, last) in self._services.items() if now - last >= after_s]

    def next_stale(self, after_s: float) -> float | None:
        """Return when `stale` next has something to say if nothing is heard; None while there is no service."""
        return min((last + after_s for _, _, last in self._services.values()), default=None)

    def has(self, full_name: str) -> bool:
        return full_name in self._services

    def remove(self, full_name: str) -> Found | None:
        """Forget a service; return what it was."""
        known = self._services.pop(full_name, None)
        return None if known is None else known[0]

    def all(self, now: float) -> list[dict[str, Any]]:
        """Return all of them, with their ages in seconds."""
        return [
            {**found.told(), "age_s": round(now - since, 3), "heard_s": round(now - last, 3)}
            for found, since, last in self._services.values()
        ]
