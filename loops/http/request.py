"""What an HTTP request asks for. Pure: a parsed head in, a Wish out, or a Problem.

A browser sends the client certificate with every request, also with those that another site makes it send. So whatever
acts needs a media type that no form can send (application/json; a cross-site script would have to ask first, and we
never allow it), and a request that a browser marks as coming from another site is refused (Fetch Metadata, W3C).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from tlsrt.loops.http.response import Problem

PREFIX = "/v1"
TIMEOUT_S = 30.0
TIMEOUT_MAX_S = 300.0
KEY_MAX = 128
JSON = "application/json"
EVENTS = "text/event-stream"


class Act(Enum):
    """What there is to do."""

    CALL = "call"
    STREAM = "stream"
    OPENAPI = "openapi"
    TARGETS = "targets"


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request, understood. `timeout_s` bounds a call, and of a stream the sending of its request."""

    act: Act
    target: str = ""
    method: str = ""
    topic: str | None = None  # of a subscription
    timeout_s: float = TIMEOUT_S
    idempotency_key: str | None = None


def wish_untrusted(method: str, target: str, headers: Iterable[tuple[str, str]]) -> HttpCall:
    """Return what a request asks for; names of `headers` are lower case. Raises Problem."""
    fields = _fields(headers)
    _refuse_other_sites(fields)
    path, _, query = target.partition("?")
    parts = path.split("/")
    if path in (PREFIX, f"{PREFIX}/", f"{PREFIX}/openapi.json"):
        _require(method, "GET")
        _no_query(query)
        return HttpCall(Act.OPENAPI if path.endswith(".json") else Act.TARGETS)
    if len(parts) != 6 or parts[0] or parts[1] != PREFIX[1:] or parts[2] not in ("call", "events"):
        raise Problem(404, "not_found", f"no such resource; {PREFIX}/openapi.json lists what there is")
    loop, component, name = (_name(part) for part in parts[3:])
    if parts[2] == "events":
        _require(method, "GET")
        _no_query(query)
        return HttpCall(Act.STREAM, f"{loop}/{component}", "subscribe", topic=name)
    _require(method, "POST")
    if fields.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Problem(415, "invalid_argument", f"send the arguments as {JSON}", {"Accept-Post": JSON})
    act = Act.STREAM if EVENTS in fields.get("accept", "") else Act.CALL
    return HttpCall(act, f"{loop}/{component}", name, None, _timeout(query), _key(fields.get("idempotency-key")))


def _fields(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        if name in fields and name in ("host", "content-type", "idempotency-key", "origin", "accept"):
            raise Problem(400, "invalid_argument", f"the header {name} stands twice")
        fields[name] = value
    return fields


def _refuse_other_sites(fields: Mapping[str, str]) -> None:
    site = fields.get("sec-fetch-site", "none")
    origin = fields.get("origin")
    if site not in ("none", "same-origin") or (origin is not None and origin != f"https://{fields.get('host', '')}"):
        raise Problem(403, "denied", "requests that come from other sites are refused")


def _require(method: str, allowed: str) -> None:
    if method != allowed:
        raise Problem(405, "invalid_argument", f"use {allowed}", {"Allow": allowed})


def _no_query(query: str) -> None:
    if query:
        raise Problem(400, "invalid_argument", "this resource takes no query")


def _name(part: str) -> str:
    try:
        name = unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise Problem(404, "not_found", "no such resource") from None
    if not name or len(name) > 80 or not name.isprintable() or "/" in name:
        raise Problem(404, "not_found", "no such resource")
    return name


def _timeout(query: str) -> float:
    if not query:
        return TIMEOUT_S
    name, _, value = query.partition("=")
    try:
        seconds = float(value) if name == "timeout_s" and value.isascii() else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= TIMEOUT_MAX_S:
        raise Problem(400, "invalid_argument", f"the query may be timeout_s=SECONDS, at most {TIMEOUT_MAX_S:g}")
    return seconds


def _key(value: str | None) -> str | None:
    if value is not None and not (0 < len(value) <= KEY_MAX and value.isprintable()):
        raise Problem(400, "invalid_argument", f"an Idempotency-Key has 1 to {KEY_MAX} printable characters")
    return value
