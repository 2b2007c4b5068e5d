"""SIP messages (RFC 3261): parsed strictly, with bounds, and written. Pure.

A message is one that this host can answer, or none: what RFC 3261 lets be written in two ways with two meanings (two
Content-Length, a folded line, two Call-IDs, a CSeq of another method) is refused, as peers and attackers differ there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

MAX_HEAD = 16_384  # bytes before the body; baresip, Asterisk and Kamailio write 0.5 to 3 KB, and h11 takes 16 KB
MAX_LINES = 96
MAX_LINE = 4096
MAX_BODY = 16_384  # an SDP of one audio stream has 0.3 to 1 KB
VERSION = "SIP/2.0"
MAGIC = "z9hG4bK"
COMPACT = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "l": "content-length", "c": "content-type", "m": "contact",
    "e": "content-encoding", "k": "supported", "s": "subject", "o": "event", "r": "refer-to", "u": "allow-events",
}  # fmt: skip
_ONCE = frozenset({"from", "to", "call-id", "cseq", "content-length", "content-type", "max-forwards", "expires"})
_NEEDED = ("via", "from", "to", "call-id", "cseq", "content-length")
_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,64}")
_CALL_ID = re.compile(r"[\x21-\x7e]{1,256}")
_URI = re.compile(r"[\x21-\x7e]{4,1024}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CSEQ = re.compile(r"([0-9]{1,10})[ \t]+([A-Za-z0-9.!%*_+`'~-]{1,64})")
_TAG = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,128}")
_PARAMETER = re.compile(r';[ \t]*([A-Za-z0-9.!%*_+`\'~-]{1,64})(?:[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;,"<>\s]*))?[ \t]*')
_QUOTED_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*<')
REASONS = {
    100: "Trying", 180: "Ringing", 200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 415: "Unsupported Media Type",
    420: "Bad Extension", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
    482: "Loop Detected", 483: "Too Many Hops", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented",
    503: "Service Unavailable", 603: "Decline",
}  # fmt: skip


class SipError(ValueError):
    """A peer has sent what is no SIP, or not what this host takes. `status` is what a response says of it."""

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class SipAddress:
    """A value of From, To or Contact: display name, URI and parameters behind it."""

    name: str
    uri: str
    parameters: dict[str, str]

    @property
    def tag(self) -> str:
        """The tag, empty if there is none."""
        return self.parameters.get("tag", "")


@dataclass(frozen=True)
class SipMessage:
    """A request (`method`, `uri`) or a response (`status`, `reason`). Names of headers are in lower case."""

    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    method: str = ""
    uri: str = ""
    status: int = 0
    reason: str = ""

    def get(self, name: str) -> str:
        """Return the first value of a header, empty if there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        """Return all values of a header, in their order."""
        return [value for key, value in self.headers if key == name]

    @cached_property
    def cseq(self) -> tuple[int, str]:
        """Number and method of CSeq."""
        return _cseq_untrusted(self.get("cseq"))

    @cached_property
    def sender(self) -> SipAddress:
        """From."""
        return parse_address_untrusted(self.get("from"))

    @cached_property
    def recipient(self) -> SipAddress:
        """To."""
        return parse_address_untrusted(self.get("to"))

    @cached_property
    def branch(self) -> str:
        """The branch of the first Via, which names the transaction."""
        via = self.get("via")
        _, _, rest = via.partition(";")
        found = parameters_untrusted(";" + rest if rest else "").get("branch", "")
        if not found.startswith(MAGIC) or not _TAG.fullmatch(found):
            raise SipError("a Via without a branch of RFC 3261")
        return found

    @property
    def call_id(self) -> str:
        """Call-ID."""
        return self.get("call-id")

    def write(self) -> bytes:
        """Return the bytes of the message, with its Content-Length."""
        first = f"{self.method} {self.uri} {VERSION}" if self.method else f"{VERSION} {self.status} {self.reason}"
        lines = [first, *(f"{key.title()}: {value}" for key, value in self.headers if key != "content-length")]
        lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def parse_head_untrusted(head: bytes) -> tuple[SipMessage, int]:
    """Return the message of the bytes before its empty line, without body, and the length of that. Raises SipError."""
    if len(head) > MAX_HEAD:
        raise SipError(f"a head of more than {MAX_HEAD} bytes", 513)
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        raise SipError("a head that is no UTF-8") from None
    lines = text.split("\r\n")
    if len(lines) > MAX_LINES or max(map(len, lines)) > MAX_LINE:
        raise SipError(f"more than {MAX_LINES} lines, or one of more than {MAX_LINE} characters", 513)
    if _CONTROL.search("".join(lines)):
        raise SipError("a control character in a head")
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t").lower()
        if not colon or not _TOKEN.fullmatch(name):
            raise SipError("a line that is no header")
        headers.append((COMPACT.get(name, name), value.strip(" \t")))
    names = [name for name, _ in headers]
    if any(names.count(name) > 1 for name in _ONCE) or not all(name in names for name in _NEEDED):
        raise SipError("a header that is missing, or there twice")
    message = _first_line_untrusted(lines[0], tuple(headers))
    length = message.get("content-length")
    if not length.isascii() or not length.isdigit() or len(length) > 9:
        raise SipError("a Content-Length that is no number")
    if int(length) > MAX_BODY:
        raise SipError(f"a body of more than {MAX_BODY} bytes", 513)
    _check_untrusted(message)
    return message, int(length)


def _first_line_untrusted(line: str, headers: tuple[tuple[str, str], ...]) -> SipMessage:
    words = line.split(" ", 2)
    if len(words) != 3:
        raise SipError("a first line that is none of SIP")
    if words[0] == VERSION:
        if not re.fullmatch(r"[1-6][0-9][0-9]", words[1]):
            raise SipError("a status that is no number")
        return SipMessage(headers, status=int(words[1]), reason=words[2])
    if words[2] != VERSION or not _TOKEN.fullmatch(words[0]) or not _URI.fullmatch(words[1]):
        raise SipError("a first line that is none of SIP")
    return SipMessage(headers, method=words[0], uri=words[1])


def _check_untrusted(message: SipMessage) -> None:
    """Read once what all of the rest relies upon, so that nothing later can fail by it."""
    if not _CALL_ID.fullmatch(message.call_id):
        raise SipError("a Call-ID that is none")
    _, method = message.cseq
    if message.method and method != message.method:
        raise SipError("a CSeq of another method")
    for address in (message.sender, message.recipient):
        if address.tag and not _TAG.fullmatch(address.tag):
            raise SipError("a tag that is none")
    if message.method and not message.sender.tag:
        raise SipError("a From without a tag")
    assert message.branch


def _cseq_untrusted(text: str) -> tuple[int, str]:
    found = _CSEQ.fullmatch(text)
    if not found or int(found[1]) >= 1 << 31:
        raise SipError("a CSeq that is none")
    return int(found[1]), found[2]


def parse_address_untrusted(text: str) -> SipAddress:
    """Return what a value of From, To or Contact says. Raises SipError."""
    name = ""
    if quoted := _QUOTED_NAME.match(text):
        name = re.sub(r"\\(.)", r"\1", quoted[1])
        inner, closed, rest = text[quoted.end() :].partition(">")
    elif "<" in text:
        name, _, more = text.partition("<")
        inner, closed, rest = more.partition(">")
    else:
        inner, mark, rest = text.partition(";")
        closed, rest = ">", mark + rest
    if not closed or not _URI.fullmatch(inner.strip()):
        raise SipError("an address that is none")
    return SipAddress(name.strip(), inner.strip(), parameters_untrusted(rest.strip(" \t")))


def parameters_untrusted(text: str) -> dict[str, str]:
    """Return `;name=value` in lower-case names. Raises SipError for one that comes twice or is none."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        one = _PARAMETER.match(text, at)
        if one is None or one[1].lower() in found:
            raise SipError("parameters that are none, or there twice")
        found[one[1].lower()] = (one[2] or "").strip('"')
        at = one.end()
    return found


def user_of(uri: str) -> str:
    """Return the user of a SIP URI, without its escapes; empty if it is of another kind, or has none."""
    found = re.fullmatch(r"(?i:sips?):([^@;?]{1,128})@[^@]+", uri)
    if not found:
        return ""
    text = re.sub(r"%([0-9A-Fa-f]{2})", lambda one: chr(int(one[1], 16)), found[1])
    return text if text.isprintable() else ""


def respond(request: SipMessage, status: int, *, tag: str = "", reason: str = "", **headers: str) -> SipMessage:
    """Return a response to a request: with its Via, From, To, Call-ID and CSeq. `tag` is ours, for To."""
    to = request.get("to")
    if tag and not request.recipient.tag:
        to += f";tag={tag}"
    copied = [(key, value) for key, value in request.headers if key in ("via", "record-route")]
    copied += [("from", request.get("from")), ("to", to), ("call-id", request.call_id), ("cseq", request.get("cseq"))]
    copied += [(key.replace("_", "-"), value) for key, value in headers.items() if value]
    return SipMessage(tuple(copied), status=status, reason=reason or REASONS.get(status, "Refused"))
