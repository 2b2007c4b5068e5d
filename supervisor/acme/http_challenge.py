"""Answers of http-01 (RFC 8555, section 8.3): one path, for whom it may concern. Pure."""

from __future__ import annotations

REQUEST_MAX = 4096
_PLACE = "/.well-known/acme-challenge/"


def is_whole(request: bytes | bytearray) -> bool:
    """Tell whether the head of a request has come."""
    return b"\r\n\r\n" in request


def response_untrusted(request: bytes, token: str, authorization: str) -> bytes:
    """Return the answer to a request; cannot fail. Without a `token` there is nothing to be had."""
    words = request.split(b"\r\n", 1)[0].split(b" ")
    is_asked = len(words) == 3 and words[0] == b"GET" and words[1] == f"{_PLACE}{token}".encode()
    if not token or not is_asked:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = authorization.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
