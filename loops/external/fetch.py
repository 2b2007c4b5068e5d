"""Fetching over HTTP for other components and clients, each by its own egress rules. Needs the extra `http` (h11)."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from tlsrt import Busy, Component, Failed, InvalidArgument, Range, Unavailable, handler
from tlsrt.loops.external.http_cache import Response, ResponseCache
from tlsrt.loops.external.http_exchange import Head, exchange
from tlsrt.loops.external.http_target import Hop, checked_headers, next_hop, target_of

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BODY_MAX = 1 << 20
_STREAM_MAX = 1 << 40
_MIB = 1 << 20
_Timeout = Annotated[float, Range(0.1, 290.0)]
_Most = Annotated[int, Range(0, 16 * _MIB)]
_Redirects = Annotated[int, Range(0, 20)]


class Fetch(Component):
    """Fetches over HTTP for its callers: what a caller's own egress rules list, also behind a redirect."""

    @dataclass(frozen=True)
    class Options:
        """Limits, and authorities to trust."""

        methods: Annotated[str, "Methods that callers may use, separated by spaces."] = "GET HEAD POST PUT PATCH DELETE"
        at_once: Annotated[int, Range(1, 64), "Requests of one caller at once."] = 8
        cache_mb: Annotated[int, Range(0, 1024), "Memory for responses that may be kept, MiB."] = 16
        system_ca: Annotated[str, 'A file of certificates that `ca: ""` trusts; it must be readable.'] = (
            "/etc/ssl/certs/ca-certificates.crt"
        )
        authorities: Annotated[dict[str, str], "More of them by name, for `ca: NAME`: a file each."] = field(
            default_factory=dict[str, str]
        )

    def warm_up(self) -> None:
        """Read certificates while files can be opened."""
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._untrusted: dict[str, str] = {}
        for name, path in {"": self.options.system_ca, **self.options.authorities}.items():
            try:
                self._contexts[name] = ssl.create_default_context(cafile=path)
            except (OSError, ssl.SSLError) as error:
                self._untrusted[name] = f"cannot read {path}: {error.strerror or error}; see `read` under its needs"

    async def start(self) -> None:
        self._cache = ResponseCache(self.options.cache_mb * _MIB)
        self._busy: Counter[str] = Counter()
        for name, problem in self._untrusted.items():
            self.log.warning("no https with ca %r: %s", name, problem)

    @handler(idempotent=True)
    async def get(
        self, url: str, headers: dict[str, str] | None = None, max_bytes: _Most = _BODY_MAX, within_s: _Timeout = 30.0,
        redirects: _Redirects = 5, ca: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Fetch a URL: {url, status, headers, body, redirects, cached, age_s}; what may be kept is kept for the caller.

        Every status is an answer; a header `cache-control: no-cache` asks the server anew. `redirects` is how many to
        follow, each judged by the caller's egress rules. `ca` names an authority of the options to trust alone.
        """
        return await self._whole("GET", url, headers or {}, b"", max_bytes, within_s, redirects, ca)

    @handler
    async def request(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"",
        max_bytes: _Most = _BODY_MAX, within_s: _Timeout = 30.0, redirects: _Redirects = 0, ca: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Send a request with any method of the options; return what `get` does. By default no redirect is followed."""
        return await self._whole(method, url, headers or {}, body, max_bytes, within_s, redirects, ca)

    @handler
    async def download(
        self, url: str, headers: dict[str, str] | None = None,
        max_bytes: Annotated[int, Range(0, _STREAM_MAX)] = 1 << 30, within_s: _Timeout = 290.0,
        redirects: _Redirects = 5, ca: str = "",
    ) -> AsyncIterator[dict[str, Any]]:  # fmt: skip
        """Fetch a large body in pieces: first {url, status, headers, redirects}, then {body} again and again."""
        caller = self.caller
        hop, context = self._first("GET", url, headers or {}, b"", ca)
        async with self._place(caller), _deadline(within_s, hop):
            passed: list[str] = []
            while True:
                addresses = await self.reach_for(caller, hop.target.host, hop.target.port)
                async with aclosing(exchange(hop, addresses, self._context(hop, context), max_bytes)) as parts:
                    head = await anext(parts)
                    assert isinstance(head, Head)
                    following = self._following(hop, head, redirects - len(passed), passed)
                    if following is None:
                        shown = {"url": str(hop.target), "status": head.status, "headers": _shown(head.headers)}
                        yield {**shown, "redirects": passed}
                        async for part in parts:
                            assert isinstance(part, bytes)
                            self.count("bytes_received", len(part))
                            yield {"body": part}
                        return
                hop = following

    async def _whole(
        self, method: str, url: str, headers: dict[str, str], body: bytes, most: int, within_s: float, redirects: int,
        ca: str,
    ) -> dict[str, Any]:  # fmt: skip
        caller = self.caller
        hop, context = self._first(method, url, headers, body, ca)
        async with self._place(caller), _deadline(within_s, hop):
            passed: list[str] = []
            with self.time("requests"):
                while True:
                    response = await self._one(caller, hop, context, most, ca)
                    head = Head(response.status, response.headers)
                    following = self._following(hop, head, redirects - len(passed), passed)
                    if following is None:
                        break
                    hop = following
        return {
            "url": str(hop.target), "status": response.status, "headers": _shown(response.headers),
            "body": response.body, "redirects": passed, "cached": response.is_cached, "age_s": response.age_s,
        }  # fmt: skip

    async def _one(self, caller: str, hop: Hop, context: ssl.SSLContext | None, most: int, ca: str) -> Response:
        """Answer one request, from what is kept for the caller if that may be. The caller's rules are asked first."""
        addresses = await self.reach_for(caller, hop.target.host, hop.target.port)
        key = f"{ca} {hop.target}"
        checks: Any = ()
        if hop.method == "GET":
            kept, checks = self._cache.look(caller, key, hop.headers, time.time())
            if kept is not None and len(kept.body) <= most:
                self.count("answered_from_cache")
                return kept
        asked = Hop(hop.method, hop.target, [*hop.headers, *checks], hop.body)
        head, body = Head(0, ()), bytearray()
        async with aclosing(exchange(asked, addresses, self._context(hop, context), most)) as parts:
            async for part in parts:
                if isinstance(part, Head):
                    head = part
                else:
                    body += part
        self.count("bytes_received", len(body))
        response, now = Response(head.status, head.headers, bytes(body)), time.time()
        if head.status == 304 and checks:
            renewed = self._cache.renew(caller, key, hop.headers, response, now)
            if renewed is not None and len(renewed.body) <= most:
                self.count("revalidated")
                return renewed
        if hop.method == "GET":
            self._cache.keep(caller, key, hop.headers, response, now)
        elif hop.method not in _SAFE and head.status < 400:
            self._cache.forget(caller, key)
        self.gauge("cache_bytes", self._cache.used)
        return response

    def _first(
        self, method: str, url: str, headers: dict[str, str], body: bytes, ca: str
    ) -> tuple[Hop, ssl.SSLContext | None]:
        if method not in self.options.methods.split() or method in ("CONNECT", "TRACE"):
            raise InvalidArgument(f"method {method[:16]!r} is not allowed: {self.options.methods} are")
        if ca in self._untrusted:
            raise Failed(f"no authority {ca!r} to trust: {self._untrusted[ca]}")
        if ca not in self._contexts:
            raise InvalidArgument(f"there is no authority {ca[:64]!r}: name it under `authorities` of its options")
        return Hop(method, target_of(url), checked_headers(headers), body), self._contexts[ca]

    def _context(self, hop: Hop, context: ssl.SSLContext | None) -> ssl.SSLContext | None:
        return context if hop.target.scheme == "https" else None

    def _following(self, hop: Hop, head: Head, left: int, passed: list[str]) -> Hop | None:
        """Return where a redirect leads, and note that it was passed; None if this is the answer."""
        location = next((value for name, value in head.headers if name == "location"), "")
        if head.status not in _REDIRECTS or not location:
            return None
        if left <= 0:
            if passed:
                raise Failed(f"{hop.target.authority} redirects once more, after {len(passed)}: raise redirects")
            return None
        try:
            following = next_hop(hop, head.status, location)
        except InvalidArgument as error:
            raise Failed(f"the redirect of {hop.target.authority} is not followed: {error}") from None
        passed.append(str(hop.target))
        return following

    @asynccontextmanager
    async def _place(self, caller: str) -> AsyncIterator[None]:
        if self._busy[caller] >= self.options.at_once:
            raise Busy(f"{caller} has {self.options.at_once} requests under way: wait for one of them")
        self._busy[caller] += 1
        try:
            yield
        finally:
            self._busy[caller] -= 1
            if not self._busy[caller]:
                del self._busy[caller]


@asynccontextmanager
async def _deadline(within_s: float, hop: Hop) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError:
        raise Unavailable(f"{hop.target.authority} did not answer within {within_s:g} s") from None


def _shown(headers: Any) -> dict[str, str]:
    """Return headers for a caller: those that are there twice joined, as lists are (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = (
            f"{found[name]}\n{value}"
            if name == "set-cookie" and name in found
            else (f"{found[name]}, {value}" if name in found else value)
        )
    return found
