"""Errors as HTTP answers: problem details (RFC 9457) of our own error codes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from tlsrt.errors import CallError

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:tlsrt:error:"
RETRY_S = 1  # what Retry-After says when nothing was executed
LOCKED_RETRY_S = 30  # and when the host is locked, until somebody unlocks it
_STATUS: Mapping[str, int] = {
    "invalid_argument": 400,
    "denied": 403,
    "rejected": 403,
    "not_found": 404,
    "conflict": 409,
    "stream_broken": 502,
    "outcome_unknown": 502,
    "busy": 503,
    "unavailable": 503,
    "stale": 503,
    "locked": 503,
    "unsynchronised": 503,
    "deadline": 504,
    "cancelled": 503,
}
_NOT_EXECUTED = frozenset({"busy", "unavailable", "stale", "locked", "unsynchronised"})


class Problem(Exception):
    """What a request ends with instead of a result."""

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
    headers = {"Retry-After": str(seconds)} if error.code in _NOT_EXECUTED else {}
    return Problem(_STATUS.get(error.code, 500), error.code, error.message, headers)
