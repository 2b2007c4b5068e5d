"""One HTTP/1.1 request of a webhook, as bytes come (h11, sans IO), as strict as senders allow.

A connection carries one request and ends: nothing can be smuggled behind it. Its length is said once, by
Content-Length; there are no chunks, so no second way to say where it ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import h11

HEAD_BYTES = 16 * 1024  # h11 asks only while a head is not whole; GitHub sends 1 KiB
_HEADERS_MOST = 64
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PHRASES = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 411: "Length Required", 413: "Content Too Large",
    429: "Too Many Requests", 503: "Service Unavailable",
}  # fmt: skip


class BadRequestError(Exception):
    """A request is refused before it is read to its end, with this status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class HookRequest:
    """A whole request. `target` is as it came: no decoding, no normalisation. Names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, list[str]]
    body: bytes


class HookRequestReader:
    """Makes a request of bytes. Never keeps more than a head and a body, and of the body only what has come."""

    def __init__(self, body_bytes: int) -> None:
        self._body_bytes = body_bytes
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._promised = False

    def receive_untrusted(self, data: bytes) -> HookRequest | None:
        """Take bytes, b"" for the end; return the request once it is whole. Raises BadRequestError."""
        try:
            self._connection.receive_data(data)
            while True:
                event = self._connection.next_event()
                if isinstance(event, h11.Request):
                    self._check(event)
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return self._whole()
                elif event is h11.NEED_DATA:
                    return None
                else:
                    raise BadRequestError(400, "the connection ended within the request")
        except h11.RemoteProtocolError as error:
            raise BadRequestError(400, f"it is no request: {error}") from None

    @property
    def kept_bytes(self) -> int:
        """How much of a body it keeps."""
        return len(self._body)

    def interim(self) -> bytes:
        """Return what is to be written before the body comes, once: a sender may wait for it (RFC 9110, 10.1.1)."""
        if self._promised or not self._connection.they_are_waiting_for_100_continue:
            return b""
        self._promised = True
        return _CONTINUE

    def _check(self, head: h11.Request) -> None:
        names = [name for name, _ in head.headers]
        if head.http_version != b"1.1":
            raise BadRequestError(400, "it is not HTTP/1.1")
        if len(names) > _HEADERS_MOST:
            raise BadRequestError(400, f"it has more than {_HEADERS_MOST} headers")
        if sum(len(name) + len(value) + 4 for name, value in head.headers) + len(head.target) > HEAD_BYTES:
            raise BadRequestError(400, f"its head has more than {HEAD_BYTES} bytes")
        if b"transfer-encoding" in names or b"content-length" not in names:
            raise BadRequestError(411, "it does not say its length by Content-Length alone")
        # h11 takes several that are equal, and has made one of them
        [length] = (int(value) for name, value in head.headers if name == b"content-length")
        if length > self._body_bytes:
            raise BadRequestError(413, f"its body has {length} bytes, and {self._body_bytes} are allowed")

    def _whole(self) -> HookRequest:
        assert self._head is not None
        if self._connection.trailing_data[0]:
            raise BadRequestError(400, "more bytes follow the request")
        headers: dict[str, list[str]] = {}
        for name, value in self._head.headers:
            headers.setdefault(name.decode("ascii"), []).append(value.decode("latin-1"))
        target = self._head.target.decode("latin-1")
        body = bytes(self._body)
        self._body = bytearray()
        return HookRequest(self._head.method.decode("ascii"), target, headers, body)


def response(status: int, retry_after_s: int = 0) -> bytes:
    """Return a whole response, which has no body and says no more than its status."""
    retry = f"Retry-After: {retry_after_s}\r\n" if retry_after_s else ""
    return f"HTTP/1.1 {status} {_PHRASES[status]}\r\n{retry}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
