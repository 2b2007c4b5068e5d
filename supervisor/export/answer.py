"""The answer of a collector to one request of HTTP/1.1: its status, and for how long to wait. Pure.

Each request has a connection of its own, so what comes behind the head does not matter and is not kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tlsrt.errors import PeerError

HEAD_MAX = 16 * 1024
RETRY_MOST_S = 300.0
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_RETRY = re.compile(rb"\r\nretry-after:[ \t]*([0-9]{1,6})[ \t]*\r\n", re.IGNORECASE)
_AGAIN = frozenset({429, 502, 503, 504})  # OTLP/HTTP: failures that are worth another try


@dataclass(frozen=True, slots=True)
class Answer:
    """What the collector says."""

    status: int
    retry_after_s: float = 0.0

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_worth_another_try(self) -> bool:
        return self.status in _AGAIN


def parse_answer_untrusted(data: bytes) -> Answer | None:
    """Return the answer, None while its head is not whole. Raises PeerError for what is none."""
    end = data.find(b"\r\n\r\n")
    if len(data) > 12 and not data.startswith(b"HTTP/1."):
        raise PeerError("not_an_answer")
    if end < 0:
        if len(data) > HEAD_MAX:
            raise PeerError("not_an_answer")
        return None
    head = data[: end + 2]
    found = _STATUS.match(head)
    if found is None or len(head) > HEAD_MAX:
        raise PeerError("not_an_answer")
    status = int(found[1])
    if status < 200:  # which only who asked for one gets
        raise PeerError("not_an_answer")
    retry = _RETRY.search(head)
    return Answer(status, min(float(retry[1]), RETRY_MOST_S) if retry is not None else 0.0)


def request_head(path: str, host: str, length: int, version: str) -> bytes:
    """Return the head of a POST with a body of JSON."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tlsrt/{version}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    ).encode("ascii", "replace")
