"""HTTP answers: results, streams, and problem details (RFC 9457) of our own error codes. Pure.

Nothing that this server sends runs, is to be kept, or is for other sites: that is what the headers say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from tlsrt.errors import CallError, Quarantined

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:tlsrt:error:"
RETRY_S = 1  # what Retry-After says when nothing was executed
LOCKED_RETRY_S = 30  # and when the host is locked, until it is unlocked
STRICT: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Headers = list[tuple[str, str]]
_STATUS: Mapping[str, int] = {
    "invalid_argument": 400,
    "denied": 403,  # by policy
    "rejected": 403,
    "not_found": 404,
    "conflict": 409,
    "quarantined": 429,  # for what this client did, and it passes
    "failed": 500,
    "stream_broken": 502,  # from here on it may have run
    "outcome_unknown": 502,
    "cancelled": 502,
    "busy": 503,  # from here on nothing was executed, and it passes
    "unavailable": 503,
    "away": 503,
    "stale": 503,
    "locked": 503,
    "unsynchronised": 503,
    "deadline": 504,
}
_PASSES = frozenset(code for code, status in _STATUS.items() if status in (429, 503))


class Problem(Exception):
    """The end of a request without a result."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}

    def encode(self) -> bytes:
        """Return the body of the answer."""
        document = {
            "type": TYPE + self.code,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def problem_of(error: CallError) -> Problem:
    """Return the problem that a failed call is to an HTTP client. A code that a component defines is its failure."""
    seconds = LOCKED_RETRY_S if error.code == "locked" else RETRY_S
    if isinstance(error, Quarantined):
        seconds = error.retry_after_s or RETRY_S
    headers = {"Retry-After": str(seconds)} if error.code in _PASSES else {}
    return Problem(_STATUS.get(error.code, 500), error.code, error.message, headers)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One whole answer."""

    status: int
    headers: Headers
    body: bytes


def answer(status: int, media_type: str, body: bytes, more: Mapping[str, str] | None = None) -> HttpResponse:
    """Return an answer with the strict headers."""
    own = {"Content-Type": media_type, "Content-Length": str(len(body)), **(more or {})}
    return HttpResponse(status, [*own.items(), *STRICT.items()], body)


def problem_answer(problem: Problem) -> HttpResponse:
    """Return the answer for a problem."""
    return answer(problem.status, MEDIA_TYPE, problem.encode(), problem.headers)


def stream_headers(media_type: str) -> Headers:
    """Return the head of an answer whose length is not known."""
    return [("Content-Type", media_type), *STRICT.items()]


def event(name: str, data: bytes, number: int | None = None) -> bytes:
    """Return one server-sent event (HTML standard, 9.2). `data` is JSON and so holds no line end."""
    head = f"event: {name}\n" if number is None else f"id: {number}\nevent: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"
