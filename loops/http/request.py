"""What an HTTP request asks for. Pure: a parsed head in, an HttpCall out, or a Problem.

A browser sends the client certificate with every request, also with those that another site makes it send. So whatever
acts needs a media type that no form can send (application/json; a cross-site script would have to ask first, and we
never allow it), and what comes from another site is refused (site.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from tlsrt.channels.frames.trace import parse_trace_untrusted
from tlsrt.loops.http.query import TIMEOUT_S, Later, query_untrusted
from tlsrt.loops.http.response import Problem
from tlsrt.loops.http.site import HostNames, check_site_untrusted

PREFIX = "/v1"
KEY_MAX = 128
JSON = "application/json"
EVENTS = "text/event-stream"
PAGE = "text/html"
_ONCE = frozenset({
    "host", "content-type", "idempotency-key", "origin", "sec-fetch-site", "authorization", "content-encoding",
})  # fmt: skip
KEY = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # a field's value has no blanks at its ends
_JOB = re.compile(r"[0-9a-f]{4,16}")  # an id, or its first digits
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


class Act(Enum):
    """What there is to do."""

    CALL = "call"  # or a stream, if the method gives one
    SUBSCRIBE = "subscribe"
    OPENAPI = "openapi"
    TARGETS = "targets"
    PAGE = "page"  # for people
    JOBS = "jobs"  # list them
    SHOW_JOB = "show_job"
    REMOVE_JOB = "remove_job"
    PAUSE_JOB = "pause_job"
    RESUME_JOB = "resume_job"


OF_JOBS = frozenset({Act.JOBS, Act.SHOW_JOB, Act.REMOVE_JOB, Act.PAUSE_JOB, Act.RESUME_JOB})


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request, understood. `timeout_s` bounds a call, and of a stream the sending of its request."""

    act: Act
    target: str = ""
    method: str = ""
    topic: str | None = None  # of a subscription
    timeout_s: float = TIMEOUT_S
    idempotency_key: str | None = None
    takes_result: bool = True  # what the client accepts as an answer
    takes_stream: bool = True
    trace: bytes = b""  # that a call says it belongs to
    authority: str = ""  # that the request is for; one of this host's names
    later: Later | None = None  # when a call is to be made; None: now
    job: str = ""  # the id of one, or its first digits


def wish_untrusted(method: str, target: str, headers: Iterable[tuple[str, str]], names: HostNames) -> HttpCall:
    """Return what a request asks for; names of `headers` are lower case. Raises Problem, ForeignRequest first."""
    fields = _fields(headers)
    target, authority = _origin_form(target, fields.get("host", ""))
    authority = check_site_untrusted(authority, fields, names)
    path, _, query = target.partition("?")
    parts = path.split("/")
    accept = fields.get("accept", "")
    if path == "/" and PAGE in accept.lower() and accepts(accept, PAGE):
        _require_read(method)
        _no_query(query)
        return HttpCall(Act.PAGE)
    if path in (PREFIX, f"{PREFIX}/", f"{PREFIX}/openapi.json"):
        _require_read(method)
        _no_query(query)
        act = Act.OPENAPI if path.endswith(".json") else Act.TARGETS
        return HttpCall(act, authority=authority)
    if path.startswith(f"{PREFIX}/jobs"):
        return _of_jobs(method, parts[3:], path, query, fields)
    if len(parts) != 6 or parts[0] or parts[1] != PREFIX[1:] or parts[2] not in ("call", "events"):
        raise Problem(404, "not_found", f"no such resource; {PREFIX}/openapi.json lists what there is")
    loop, component, name = (_name(part) for part in parts[3:])
    if parts[2] == "events":
        _require_read(method)
        _no_query(query)
        if not accepts(accept, EVENTS):
            raise Problem(406, "invalid_argument", f"events come as a stream: send Accept: {EVENTS}")
        return HttpCall(Act.SUBSCRIBE, f"{loop}/{component}", "subscribe", topic=name)
    _require_post(method, fields)
    timeout_s, later = query_untrusted(query)
    if fields.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(
            415, "invalid_argument", "send the body without Content-Encoding", {"Accept-Encoding": "identity"}
        )
    return HttpCall(
        Act.CALL, f"{loop}/{component}", name, None, timeout_s, _key(fields.get("idempotency-key")),
        takes_result=accepts(accept, JSON), takes_stream=accepts(accept, EVENTS), trace=_trace(fields), later=later,
    )  # fmt: skip


def accepts(accept: str, media_type: str) -> bool:
    """Tell whether a header Accept takes a media type (RFC 9110, 12.5.1): its closest range decides."""
    kind = media_type.partition("/")[0]
    closest = {f"{kind}/*": 1, "*/*": 0, media_type: 2}
    best, is_taken = -1, not accept.strip()
    for element in accept.split(","):
        name, *parameters = (part.strip().lower() for part in element.split(";"))
        rank = closest.get(name, -1)
        if rank < 0 or rank < best:
            continue
        weight = next((one[2:].strip() for one in parameters if one.startswith("q=")), "1")
        is_some = _WEIGHT.fullmatch(weight) is not None and float(weight) > 0
        is_taken = is_some if rank > best else is_taken or is_some
        best = rank
    return is_taken


def _fields(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        if name in fields and name in _ONCE:
            raise Problem(400, "invalid_argument", f"the header {name} stands twice")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    if fields.get("expect", "100-continue").strip().lower() != "100-continue":
        raise Problem(417, "invalid_argument", "Expect can only be 100-continue")
    return fields


def _origin_form(target: str, host: str) -> tuple[str, str]:
    """Return (path and query, authority). A target may name its host, and then that counts (RFC 9112, 3.2.2)."""
    if target[:8].lower() != "https://":
        return target, host
    authority, slash, rest = target[8:].partition("/")
    return slash + rest or "/", authority


def _require_read(method: str) -> None:
    if method not in ("GET", "HEAD"):
        raise Problem(405, "invalid_argument", "use GET", {"Allow": "GET, HEAD"})


def _require_post(method: str, fields: Mapping[str, str]) -> None:
    if method != "POST":
        raise Problem(405, "invalid_argument", "use POST", {"Allow": "POST"})
    if fields.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Problem(415, "invalid_argument", f"send the arguments as {JSON}", {"Accept-Post": JSON})


def _of_jobs(method: str, parts: list[str], path: str, query: str, fields: Mapping[str, str]) -> HttpCall:
    """Return what is asked about jobs: `/v1/jobs`, `/v1/jobs/ID`, `/v1/jobs/ID/pause` or `/resume`."""
    if path == f"{PREFIX}/jobs":
        _require_read(method)
        _no_query(query)
        return HttpCall(Act.JOBS)
    change = {"pause": Act.PAUSE_JOB, "resume": Act.RESUME_JOB}.get(parts[1]) if len(parts) == 2 else None
    if not path.startswith(f"{PREFIX}/jobs/") or not _JOB.fullmatch(parts[0]) or (len(parts) > 1 and change is None):
        raise Problem(404, "not_found", f"no such resource; {PREFIX}/openapi.json lists what there is")
    _no_query(query)
    if change is not None:
        _require_post(method, fields)
        return HttpCall(change, job=parts[0])
    if method not in ("GET", "HEAD", "DELETE"):
        raise Problem(405, "invalid_argument", "use GET or DELETE", {"Allow": "GET, HEAD, DELETE"})
    return HttpCall(Act.REMOVE_JOB if method == "DELETE" else Act.SHOW_JOB, job=parts[0])


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


def _trace(fields: Mapping[str, str]) -> bytes:
    """Return the trace that a request says it belongs to; nothing of what is malformed, as W3C Trace Context asks."""
    found = parse_trace_untrusted(fields.get("traceparent", ""), fields.get("tracestate", ""))
    return found.encode() if found is not None else b""


def _key(value: str | None) -> str | None:
    if value is not None and not (len(value) <= KEY_MAX and KEY.fullmatch(value)):
        raise Problem(400, "invalid_argument", f"an Idempotency-Key has 1 to {KEY_MAX} printable characters of ASCII")
    return value
