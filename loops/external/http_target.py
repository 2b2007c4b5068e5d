"""Where a request goes, and where a redirect may lead it: origins, and the headers that stay with one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from tlsrt import InvalidArgument

URL_MAX = 4096
HEADERS_MAX, HEADER_BYTES_MAX = 64, 16384
_PORTS = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]+\]")
# Of the connection, and what frames a message: a caller that could say them could smuggle another request.
_OURS = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "keep-alive",
    "proxy-authorization", "proxy-connection", "accept-encoding",
})  # fmt: skip
_ANYWHERE = frozenset({"accept", "accept-language", "user-agent"})  # what may follow a redirect to another origin
_OF_BODY = frozenset({"content-type", "content-encoding", "content-language"})


@dataclass(frozen=True, slots=True)
class Target:
    """One URL, taken apart."""

    scheme: str
    host: str  # in lower case, an IPv6 address without brackets
    port: int
    path: str  # with the query

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Return the field Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def target_of(url: str) -> Target:
    """Return a URL taken apart. Raises InvalidArgument with a sentence."""
    if len(url) > URL_MAX or not all("!" <= sign <= "~" for sign in url) or "\\" in url:
        raise InvalidArgument(f"a URL is printable ASCII without spaces, at most {URL_MAX} characters: encode the rest")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidArgument("that is no URL, such as https://api.example.org/v1") from None
    if parts.scheme not in _PORTS:
        raise InvalidArgument("a URL begins with https:// or http://")
    if "@" in parts.netloc:
        raise InvalidArgument("a URL has no user or password here: send the header authorization")
    host = (parts.netloc.rpartition(":")[0] if port is not None else parts.netloc).lower().rstrip(":")
    if _HOST.fullmatch(host) is None or port == 0:
        raise InvalidArgument("the host of that URL is no name or address, such as api.example.org or [2001:db8::7]")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host.strip("[]"), _PORTS[parts.scheme] if port is None else port, path)


def checked_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers of a request, names in lower case. Raises InvalidArgument for what a caller may not say."""
    found = [(name.lower(), value.strip(" \t")) for name, value in headers.items()]
    if len(found) > HEADERS_MAX or sum(len(name) + len(value) for name, value in found) > HEADER_BYTES_MAX:
        raise InvalidArgument(f"at most {HEADERS_MAX} headers of {HEADER_BYTES_MAX} bytes together")
    for name, value in found:
        if _TOKEN.fullmatch(name) is None or not all(" " <= sign <= "~" or sign == "\t" for sign in value):
            raise InvalidArgument(f"header {name[:64]!r}: a name is a token, and a value printable ASCII")
        if name in _OURS:
            raise InvalidArgument(f"header {name} is set by fetch: leave it out")
    if len({name for name, _ in found}) != len(found):
        raise InvalidArgument("a header is there twice: names differ in more than upper and lower case")
    return found


@dataclass(frozen=True, slots=True)
class Hop:
    """One request of a chain of redirects."""

    method: str
    target: Target
    headers: Sequence[tuple[str, str]]
    body: bytes = b""


def next_hop(hop: Hop, status: int, location: str) -> Hop:
    """Return what a redirect asks for (RFC 9110, 15.4). Raises InvalidArgument for one that must not be followed.

    To another origin goes no body, and no header but those that tell nothing of the caller; none leads to http.
    """
    try:
        target = target_of(urljoin(str(hop.target), location).partition("#")[0])
    except ValueError:
        raise InvalidArgument("it leads to what is no URL") from None
    is_other = target.origin != hop.target.origin
    if hop.target.scheme == "https" and target.scheme == "http":
        raise InvalidArgument(f"it leads from https to http://{target.authority}")
    method, body = hop.method, hop.body
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", b""
    if is_other and body:
        raise InvalidArgument(f"it leads the body to another origin, {target.authority}")
    dropped = _OF_BODY if body != hop.body else frozenset[str]()
    headers = [
        (name, value) for name, value in hop.headers if name not in dropped and (not is_other or name in _ANYWHERE)
    ]
    return Hop(method, target, headers, body)
