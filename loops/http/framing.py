"""Framing of HTTP/1.1 requests: where each ends, and that none can be read in two ways. Pure.

A server and what stands before it must agree on where a request ends, or what one client sends becomes the request of
another (smuggling). h11 forgives what proxies read otherwise: a bare LF, a folded field, two lengths. So every byte
passes here first, and h11 gets no byte of a request before its head is whole, bounded and strict (RFC 9112, 2.2, 3,
5.2, 6, 7.1). What comes after the request is held until it has been answered.
"""

from __future__ import annotations

import re
from enum import Enum

from tlsrt.loops.http.response import Problem

HEAD_MAX = 16 * 1024  # of a request line and its fields; likewise of the trailers and extensions of chunks
BODY_MAX = 256 * 1024
LINES_MAX = 1024  # of a request, outside of its body: each costs as much as kilobytes of a body
CHUNKS_MAX = LINES_MAX // 2  # or some fewer: each has two
CHUNK_LINE = 24  # bytes of a chunk's line that are not counted as an extension
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/([0-9]\.[0-9])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")  # the value is stripped where it is taken
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~\x80-\xff]*)?")
_LENGTH = re.compile(rb"[0-9]{1,15}")


class _State(Enum):
    """What the next byte belongs to."""

    START = "start"  # an empty line may stand before a request
    FIELDS = "fields"
    LENGTH = "length"  # a body of a known length
    CHUNK = "chunk"  # the line of a chunk
    DATA = "data"  # of a chunk
    DATA_END = "data_end"  # its CRLF
    TRAILERS = "trailers"
    DONE = "done"


_LINES = frozenset({_State.START, _State.FIELDS, _State.CHUNK, _State.DATA_END, _State.TRAILERS})


class RequestFraming:
    """The requests of one connection, one after the other."""

    def __init__(self) -> None:
        self._waiting = bytearray()  # an unfinished line or head; when the request is whole, what follows it
        self._state = _State.START
        self._head = bytearray()
        self._fields: list[tuple[bytes, bytes]] = []
        self._version = b""
        self._left = 0  # of a body or chunk
        self._body = 0
        self._lines = 0  # bytes of the lines that are bounded together
        self._count = 0  # of all lines

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing of the next request has come."""
        return self._state is _State.START and not self._waiting

    @property
    def ahead(self) -> int:
        """Return how many bytes of later requests are held."""
        return len(self._waiting) if self._state is _State.DONE else 0

    def take_untrusted(self, data: bytes) -> bytes:
        """Return what of the present request can be parsed now. Raises Problem, and then takes nothing more."""
        self._waiting += data
        passed = bytearray()
        while self._waiting and self._state is not _State.DONE:
            if self._state in _LINES:
                line = self._next_line()
                if line is None:
                    break
                passed += self._take_line(line)
            else:
                passed += self._take_data()
        return bytes(passed)

    def next_untrusted(self) -> bytes:
        """Begin the next request; return what of it can be parsed already. Raises Problem."""
        self._state, self._lines, self._count, self._body = _State.START, 0, 0, 0
        self._fields, self._head = [], bytearray()
        return self.take_untrusted(b"")

    # -- lines -------------------------------------------------------------------------------------------------

    def _next_line(self) -> bytes | None:
        """Return the next line without its CRLF, or None if it is not whole. Raises Problem."""
        if self._state is _State.START and self._waiting[0] < 0x21 and self._waiting[0] not in b"\r\n":
            raise _bad("this is not HTTP/1.1")  # such as a TLS record: it may never hold a line end
        end = self._waiting.find(b"\n")
        size = len(self._waiting) if end < 0 else end + 1
        if self._lines + size > HEAD_MAX + (CHUNK_LINE if self._state is _State.CHUNK else 0):
            raise Problem(431, "invalid_argument", f"the head of a request has at most {HEAD_MAX} bytes")
        if end < 0:
            return None
        self._count += 1
        if self._count > LINES_MAX:
            raise self._too_many()
        line = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._lines += max(0, size - CHUNK_LINE) if self._state in (_State.CHUNK, _State.DATA_END) else size
        if not line.endswith(b"\r\n") or line.count(b"\r") > 1:
            raise _bad("a line ends with CR and LF, and neither stands alone")
        return line[:-2]

    def _too_many(self) -> Problem:
        if self._state in (_State.CHUNK, _State.DATA_END):
            return _bad(f"a body comes in fewer than {CHUNKS_MAX} chunks: send larger ones, or a Content-Length")
        return Problem(431, "invalid_argument", f"the head of a request has at most {LINES_MAX} lines")

    def _take_line(self, line: bytes) -> bytes:
        if self._state is _State.START:
            return self._take_request_line(line)
        if self._state is _State.FIELDS:
            return self._take_field(line)
        if self._state is _State.CHUNK:
            self._take_chunk(line)
        elif self._state is _State.DATA_END:
            if line:
                raise _bad("a chunk is longer than it says")
            self._state = _State.CHUNK
        elif not line:
            self._state = _State.DONE
        elif _FIELD.fullmatch(line) is None:
            raise _bad("a trailer of the body is malformed")
        return line + b"\r\n"

    def _take_request_line(self, line: bytes) -> bytes:
        if not line:
            return b""  # RFC 9112, 2.2: some clients end a body with one too many
        match = _LINE.fullmatch(line)
        if match is None:
            raise _bad("this is not HTTP/1.1")
        self._version = match[3]
        if self._version not in (b"1.0", b"1.1"):
            raise Problem(505, "invalid_argument", "use HTTP/1.1")
        self._head += line + b"\r\n"
        self._state = _State.FIELDS
        return b""

    def _take_field(self, line: bytes) -> bytes:
        self._head += line + b"\r\n"
        if line:
            match = _FIELD.fullmatch(line)
            if match is None:
                raise _bad("a header is malformed: a name, a colon, and a value in one line")
            self._fields.append((match[1].lower(), match[2].strip(b" \t")))
            return b""
        self._end_head()
        self._lines = 0
        return bytes(self._head)

    # -- bodies ------------------------------------------------------------------------------------------------

    def _end_head(self) -> None:
        """Find out how long the body is (RFC 9112, 6.3). Raises Problem where that can be read in two ways."""
        lengths = [value for name, value in self._fields if name == b"content-length"]
        codings = [value.lower() for name, value in self._fields if name == b"transfer-encoding"]
        if codings and (lengths or self._version == b"1.0"):
            raise _bad("Transfer-Encoding stands with a Content-Length or in HTTP/1.0: send one length")
        if len(lengths) > 1 or any(_LENGTH.fullmatch(length) is None for length in lengths):
            raise _bad("Content-Length is one number")
        if codings and codings != [b"chunked"]:
            raise Problem(501, "invalid_argument", "Transfer-Encoding can only be chunked")
        if codings:
            self._state = _State.CHUNK
            return
        self._left = int(lengths[0]) if lengths else 0
        self._announce(self._left)
        self._state = _State.LENGTH if self._left else _State.DONE

    def _take_chunk(self, line: bytes) -> None:
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise _bad("the size of a chunk is malformed")
        self._left = int(match[1], 16)
        self._announce(self._left)
        self._state = _State.DATA if self._left else _State.TRAILERS

    def _announce(self, size: int) -> None:
        """Count bytes of the body that were announced; so a body that is too large is refused before it is sent."""
        self._body += size
        if self._body > BODY_MAX:
            raise Problem(413, "invalid_argument", f"a body has at most {BODY_MAX} bytes")

    def _take_data(self) -> bytes:
        data = bytes(self._waiting[: self._left])
        del self._waiting[: self._left]
        self._left -= len(data)
        if not self._left:
            self._state = _State.DONE if self._state is _State.LENGTH else _State.DATA_END
        return data


def _bad(detail: str) -> Problem:
    return Problem(400, "invalid_argument", detail)
