"""The heads of HTTP answers: strict, the same for all. Pure.

Nothing that this server sends is a page, is to be kept, or is for other sites: that is what the headers say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tlsrt.loops.http.problem import MEDIA_TYPE, Problem

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
    """Return the answer that says what went wrong."""
    return answer(problem.status, MEDIA_TYPE, problem.encode(), problem.headers)


def stream_headers(media_type: str) -> Headers:
    """Return the head of an answer whose length is not known."""
    return [("Content-Type", media_type), *STRICT.items()]


def event(name: str, data: bytes, number: int | None = None) -> bytes:
    """Return one server-sent event (HTML standard, 9.2); `data` is JSON and so holds no line end."""
    head = f"event: {name}\n" if number is None else f"id: {number}\nevent: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"
