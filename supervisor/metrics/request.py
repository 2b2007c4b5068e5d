"""Requests of HTTP/1.1 as the metrics process takes them: GET and HEAD without a body, one for each connection. Pure.

Whatever could be read in two ways is refused: a line that ends without CR, a folded line, a body. What follows behind
the head is never read, as the connection ends with its answer, so no second request can hide there.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from tlsrt.errors import PeerError

HEAD_MAX = 8192
_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,255}) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):([\t\x20-\x7e\x80-\xff]*)")
_FIELDS_MAX = 64

STATUS = {  # why a request is refused -> how it is answered
    "bad_request": "400 Bad Request",
    "bad_host": "421 Misdirected Request",
    "bad_method": "405 Method Not Allowed",
    "has_body": "413 Content Too Large",
    "too_long": "431 Request Header Fields Too Large",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    path: str
    is_head: bool = False  # the same without its body
    is_openmetrics: bool = False  # which its reader prefers


def head_end(data: bytes | bytearray) -> int:
    """Return where the head of a request ends, -1 as long as it has no end. Raises PeerError for one too long."""
    end = data.find(b"\r\n\r\n", 0, HEAD_MAX)
    if end < 0 and len(data) >= HEAD_MAX:
        raise PeerError("too_long")
    return end


def parse_head_untrusted(head: bytes, *, is_tcp: bool) -> Request:
    """Return what a head asks for. Raises PeerError with a key of `STATUS`."""
    first, *lines = head.split(b"\r\n")
    match = _LINE.fullmatch(first)
    if match is None or len(lines) > _FIELDS_MAX:
        raise PeerError("bad_request")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise PeerError("bad_request")
        name = found[1].lower()
        if name in fields and name in (b"host", b"content-length", b"transfer-encoding"):
            raise PeerError("bad_request")
        value = found[2].strip(b" \t")
        fields[name] = fields[name] + b"," + value if name in fields else value
    if match[1] not in (b"GET", b"HEAD"):
        raise PeerError("bad_method")
    if b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0":
        raise PeerError("has_body")
    if is_tcp and not _is_this_host(fields.get(b"host", b"")):
        raise PeerError("bad_host")
    path = match[2].decode("ascii").partition("?")[0]
    return Request(path, match[1] == b"HEAD", prefers_openmetrics(fields.get(b"accept", b"").decode("latin-1")))


def _is_this_host(name: bytes) -> bool:
    """Tell whether a Host field names this host by its loopback address.

    A page of another site may have its own name lead to 127.0.0.1, and would read what is said here (DNS rebinding);
    its requests carry that name.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:]+))(?::\d{1,5})?", name.decode("latin-1"))
    if match is None:
        return False
    host = match[1] or match[2]
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def prefers_openmetrics(accept: str) -> bool:
    """Tell whether an Accept field asks for OpenMetrics 1.0 at least as much as for the text format of Prometheus."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        kind, *parameters = [word.strip() for word in part.split(";")]
        values = dict(word.partition("=")[::2] for word in parameters)
        if kind not in weights or values.get("version", "1.0.0") not in ("0.0.4", "1.0.0"):
            continue
        try:
            weight = float(values.get("q", "1"))
        except ValueError:
            continue
        weights[kind] = max(weights[kind], weight)
    return (
        weights["application/openmetrics-text"] > 0 and weights["application/openmetrics-text"] >= weights["text/plain"]
    )


def answer_head(status: str, kind: str, length: int) -> bytes:
    """Return the head of an answer with a body of `length` bytes, after which the connection ends."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
