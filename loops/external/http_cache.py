"""A private cache of HTTP responses for each caller, bounded, in memory (RFC 9111). Pure: the time comes in.

A response is kept under its caller, so none is told what another has fetched, not even by how long it takes. What was
asked with an authorization or a cookie is not kept: one caller may ask for several people.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_KEPT = frozenset({200, 203, 204, 300, 301, 308, 404, 410})  # RFC 9110, 15.1, but for parts of a body
_SECRET = frozenset({"authorization", "cookie", "range", "if-none-match", "if-modified-since", "if-range"})
_OF_MESSAGE = frozenset({"content-length", "content-encoding", "transfer-encoding"})
_DELTA_MAX = 1 << 31
_VARIANTS_MOST = 8
_OVERHEAD = 512  # bytes of an entry beside its body

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Response:
    """A response with its whole body. `age_s` is how old it is, 0 if it has just come."""

    status: int
    headers: Headers
    body: bytes
    age_s: int = 0
    is_cached: bool = False

    def first(self, name: str) -> str:
        """Return the value of a header, "" for none."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> str:
        """Return all values of a header that is a list."""
        return _value(self.headers, name)


@dataclass(slots=True)
class _Entry:
    response: Response
    varied: tuple[tuple[str, str], ...]  # what the request said in the headers that Vary names
    stored_at: float  # wall clock, s
    age_then: float
    fresh_s: float

    def age(self, now: float) -> float:
        return self.age_then + max(0.0, now - self.stored_at)

    @property
    def size(self) -> int:
        return len(self.response.body) + sum(len(n) + len(v) for n, v in self.response.headers) + _OVERHEAD


class ResponseCache:
    """Of all callers, each with half of the room at most; what was used longest ago makes room."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._entries: OrderedDict[tuple[str, str], list[_Entry]] = OrderedDict()
        self._used: dict[str, int] = {}

    @property
    def used(self) -> int:
        """Return the bytes of all entries."""
        return sum(self._used.values())

    def look(self, caller: str, url: str, headers: Headers, now: float) -> tuple[Response | None, Headers]:
        """Return what may be answered without asking, if any, and headers that ask if a stale one still holds."""
        asked = directives(_value(headers, "cache-control"))
        if not _may_keep(headers) or "no-cache" in asked:
            return None, ()
        entry = self._find(caller, url, headers)
        if entry is None:
            return None, ()
        self._entries.move_to_end((caller, url))
        age = entry.age(now)
        if age < min(entry.fresh_s, _seconds(asked.get("max-age"), entry.fresh_s)):
            return replace(entry.response, age_s=int(age), is_cached=True), ()
        tag, modified = entry.response.first("etag"), entry.response.first("last-modified")
        checks = (("if-none-match", tag), ("if-modified-since", modified))
        return None, [(name, value) for name, value in checks if value]

    def keep(self, caller: str, url: str, headers: Headers, response: Response, now: float) -> None:
        """Keep a response if it may be, in the place of the one before."""
        said = directives(response.all("cache-control"))
        vary = [name.strip().lower() for name in response.all("vary").split(",") if name.strip()]
        varied = tuple((name, _value(headers, name)) for name in vary)
        entry = _Entry(response, varied, now, _age_of(response, now), _lifetime(response, said))
        is_useful = entry.fresh_s > entry.age_then or response.first("etag") or response.first("last-modified")
        may_be = response.status in _KEPT and "no-store" not in said and "*" not in vary and _may_keep(headers)
        if not (may_be and is_useful and entry.size <= self._room // 8):
            return
        self.forget(caller, url, varied)
        self._entries.setdefault((caller, url), []).append(entry)
        self._entries.move_to_end((caller, url))
        self._used[caller] = self._used.get(caller, 0) + entry.size
        for old in self._entries[caller, url][:-_VARIANTS_MOST]:
            self._drop((caller, url), old)
        while self._used[caller] > self._room // 2:
            self._drop_oldest(caller)
        while self.used > self._room:
            self._drop_oldest(None)

    def renew(self, caller: str, url: str, headers: Headers, fresh: Response, now: float) -> Response | None:
        """Return the stale response that a 304 says still holds, kept again with the headers that it brought."""
        entry = self._find(caller, url, headers)
        if entry is None:
            return None
        brought = {name for name, _ in fresh.headers} - _OF_MESSAGE
        kept = [(name, value) for name, value in entry.response.headers if name not in brought]
        new = [(name, value) for name, value in fresh.headers if name in brought]
        response = replace(entry.response, headers=[*kept, *new])
        self.keep(caller, url, headers, response, now)
        return replace(response, age_s=int(_age_of(response, now)), is_cached=True)

    def forget(self, caller: str, url: str, varied: tuple[tuple[str, str], ...] | None = None) -> None:
        """Drop all of a URL, or the one variant: a request that changes it makes what is kept wrong."""
        for entry in [*self._entries.get((caller, url), ())]:
            if varied is None or entry.varied == varied:
                self._drop((caller, url), entry)

    def _find(self, caller: str, url: str, headers: Headers) -> _Entry | None:
        for entry in reversed(self._entries.get((caller, url), ())):
            if all(_value(headers, name) == value for name, value in entry.varied):
                return entry
        return None

    def _drop(self, key: tuple[str, str], entry: _Entry) -> None:
        self._entries[key].remove(entry)
        self._used[key[0]] -= entry.size
        if not self._entries[key]:
            del self._entries[key]

    def _drop_oldest(self, caller: str | None) -> None:
        key = next(key for key in self._entries if caller is None or key[0] == caller)
        self._drop(key, self._entries[key][0])


def directives(text: str) -> Mapping[str, str]:
    """Return what a Cache-Control says, names in lower case."""
    found: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name:
            found.setdefault(name.lower(), value.strip('" '))
    return found


def _may_keep(headers: Headers) -> bool:
    names = {name for name, _ in headers}
    return not names & _SECRET and "no-store" not in directives(_value(headers, "cache-control"))


def _value(headers: Headers, name: str) -> str:
    return ", ".join(value for key, value in headers if key == name)


def _seconds(text: str | None, default: float) -> float:
    if text is None:
        return default
    return float(min(int(text), _DELTA_MAX)) if text.isascii() and text.isdecimal() and len(text) < 20 else 0.0


def _lifetime(response: Response, said: Mapping[str, str]) -> float:
    """Return how long it is fresh (4.2.1): a private cache has no use for s-maxage, and nothing is guessed here."""
    if "no-cache" in said:
        return 0.0
    if "max-age" in said:
        return _seconds(said["max-age"], 0.0)
    expires, date = _moment(response.first("expires")), _moment(response.first("date"))
    return max(0.0, (expires - date).total_seconds()) if expires and date else 0.0


def _age_of(response: Response, now: float) -> float:
    """Return how old a response is when it comes (4.2.3)."""
    date = _moment(response.first("date"))
    apparent = max(0.0, now - date.timestamp()) if date else 0.0
    return max(apparent, _seconds(response.first("age") or None, 0.0))


def _moment(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
