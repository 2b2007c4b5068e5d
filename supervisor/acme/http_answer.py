"""One answer of HTTP/1.1 (RFC 9112), read as it comes. Pure.

The CA is hostile: everything is bounded before it is kept, and what is not one whole answer is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tlsrt.errors import PeerError

HEAD_MAX = 16 * 1024  # nginx and Go send at most 8 and 4 KiB by themselves
BODY_MAX = 128 * 1024  # a chain of ten certificates has 20 KiB
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,6})(?:;[^\r\n]{0,256})?\r\n")
_CHUNK_HEAD_MAX = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers by name in lower case (the last of each name), and body."""

    status: int
    headers: dict[str, str]
    body: bytes


class AnswerReader:
    """Collects one answer. `feed_untrusted` and `end_untrusted` raise PeerError and nothing else."""

    def __init__(self, *, has_body: bool = True) -> None:
        self._has_body = has_body  # the answer to HEAD speaks of one that does not come
        self._held = bytearray()
        self._head: tuple[int, dict[str, str]] | None = None
        self._length: int | None = None  # of the body, None: to the end of the connection
        self._is_chunked = False
        self._body = bytearray()

    def feed_untrusted(self, data: bytes) -> Answer | None:
        """Take more bytes; return the answer once it is whole."""
        self._held += data
        while self._head is None:
            end = self._held.find(b"\r\n\r\n")
            if end < 0 and len(self._held) <= HEAD_MAX:
                return None
            if not 0 <= end <= HEAD_MAX:
                raise PeerError("http_long_head")
            head = bytes(self._held[:end])
            del self._held[: end + 4]
            self._take_head(head)
        if self._is_chunked:
            return self._chunks()
        self._body += self._held
        self._held.clear()
        if len(self._body) > BODY_MAX or (self._length is not None and len(self._body) > self._length):
            raise PeerError("http_long_body")
        return self._answer() if len(self._body) == self._length else None

    def end_untrusted(self) -> Answer:
        """Take the end of the connection."""
        if self._head is None or self._is_chunked or self._length is not None:
            raise PeerError("http_cut")
        return self._answer()

    def _answer(self) -> Answer:
        assert self._head is not None
        return Answer(*self._head, bytes(self._body))

    def _take_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        headers: dict[str, str] = {}
        for line in lines:
            header = _HEADER.fullmatch(line)
            if header is None:
                raise PeerError("http_bad_header")
            headers[header[1].decode("ascii").lower()] = header[2].strip(b" \t").decode("latin-1")
        if status is None:
            raise PeerError("http_bad_status")
        number = int(status[1])
        if number < 200:  # 100 Continue, 103 Early Hints: the answer follows
            return
        self._head = number, headers
        length = headers.get("content-length")
        self._is_chunked = "transfer-encoding" in headers
        if self._is_chunked and (length is not None or headers["transfer-encoding"].lower() != "chunked"):
            raise PeerError("http_bad_encoding")
        if length is not None:
            if not re.fullmatch(r"[0-9]{1,9}", length):
                raise PeerError("http_bad_length")
            self._length = int(length)
            if self._length > BODY_MAX:
                raise PeerError("http_long_body")
        if number in (204, 304) or not self._has_body:
            self._length, self._is_chunked = 0, False

    def _chunks(self) -> Answer | None:
        while True:
            line = _CHUNK.match(self._held)
            if line is None:
                if len(self._held) > _CHUNK_HEAD_MAX or b"\r\n" in self._held:
                    raise PeerError("http_bad_chunk")
                return None
            size = int(line[1], 16)
            if len(self._body) + size > BODY_MAX:
                raise PeerError("http_long_body")
            if not size:
                return self._trailer(line.end())
            end = line.end() + size
            if len(self._held) < end + 2:
                return None
            if self._held[end : end + 2] != b"\r\n":
                raise PeerError("http_bad_chunk")
            self._body += self._held[line.end() : end]
            del self._held[: end + 2]

    def _trailer(self, start: int) -> Answer | None:
        if self._held[start : start + 2] == b"\r\n" or b"\r\n\r\n" in self._held[start:]:
            return self._answer()
        if len(self._held) > HEAD_MAX:
            raise PeerError("http_long_head")
        return None
