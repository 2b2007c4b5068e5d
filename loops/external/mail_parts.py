"""What a mail has in it: header fields and parts, found without recursion and within bounds. Pure.

A mail is the work of anyone. Nothing here follows a link, opens an archive or believes a length: parts are places in
the bytes of the mail, at most `PARTS` of them and `DEPTH` deep, and a field that is too long is as good as absent.
Sources: RFC 5322 (fields), RFC 2045 and 2046 (parts), RFC 2047 (words of other character sets).
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from typing import NamedTuple

HEADER_BYTES = 256 * 1024  # of a mail; usual ones have 4 to 16 KiB
PART_HEADER_BYTES = 16 * 1024
FIELD_BYTES = 8 * 1024  # that a field has which is read
PARTS = 64
DEPTH = 12
_SHOWN = 400  # characters of a field that people see
# Those of people's mail. Others, such as utf-7 and the codecs of Python that are no character sets, are not decoded.
CHARSETS = (
    "ascii", "utf-8", *(f"iso8859-{number}" for number in range(1, 17) if number != 12),
    *(f"cp{number}" for number in range(1250, 1259)), "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5", "euc-jp",
    "iso2022_jp", "shift_jis", "euc_kr", "utf-16",
)  # fmt: skip
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
_NAME = re.compile(rb"[!-9;-~]{1,78}")


class BadMailError(Exception):
    """A mail that is not read. The text says why, for people."""


class Field(NamedTuple):
    """A header field: its name in small letters, and its value in one line."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part that has no parts: what it says of itself, and where it lies in the mail."""

    type: str
    charset: str
    encoding: str
    file_name: str
    is_attachment: bool
    start: int
    end: int


def fields_untrusted(data: bytes, start: int, end: int, most: int) -> tuple[list[Field], int]:
    """Return the header fields that begin at `start`, in their order, and where what is behind them begins.

    A field of more than FIELD_BYTES is left out. Raises BadMailError for more than `most` bytes of fields.
    """
    fields: list[Field] = []
    pieces: list[bytes] = []
    at = start

    def finish() -> None:
        line = b"".join(pieces)
        name, colon, value = line.partition(b":")
        if colon and len(line) <= FIELD_BYTES and _NAME.fullmatch(name := name.rstrip(b" \t")):
            fields.append(Field(name.decode("ascii").lower(), _text_of(value.strip())))
        pieces.clear()

    while at < end:
        stop = data.find(b"\n", at, min(end, start + most))
        if stop < 0:
            if end > start + most:
                raise BadMailError(f"it has more than {most >> 10} KiB of header fields")
            stop = end - 1
        line = data[at : stop + 1].rstrip(b"\r\n")
        at = stop + 1
        if not line:
            break
        if line[:1] not in (b" ", b"\t"):
            finish()
        pieces.append(line)
    finish()
    return fields, at


def _text_of(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.replace("\0", " ").replace("\r", " ").replace("\t", " ")


def values_of(fields: list[Field], name: str) -> list[str]:
    """Return the values of a field, the first one first."""
    return [one.value for one in fields if one.name == name]


def words_untrusted(value: str) -> str:
    """Return a field as people read it, RFC 2047 decoded, in one line without what steers a terminal. Cannot fail."""
    value = value[:2000]
    try:
        words = "".join(
            word.decode_with(charset) if isinstance(word, _Bytes) else str(word)
            for word, charset in (
                (_Bytes(one) if isinstance(one, bytes) else one, set) for one, set in decode_header(value)
            )
        )
    except (ValueError, LookupError, MessageError):
        words = value
    return " ".join("".join(each if each.isprintable() else " " for each in words).split())[:_SHOWN]


class _Bytes(bytes):
    def decode_with(self, charset: str | None) -> str:
        return decoded_untrusted(self, charset or "utf-8")


def decoded_untrusted(data: bytes, charset: str) -> str:
    """Return text of a character set that people use; one of another, or broken, as what it may be. Cannot fail."""
    try:
        name = codecs.lookup(charset).name if charset.isascii() and len(charset) < 40 else ""
    except (LookupError, ValueError):
        name = ""
    return data.decode(name if name in _KNOWN else "utf-8", "replace")


_KNOWN = frozenset(codecs.lookup(name).name for name in CHARSETS)


def parts_untrusted(data: bytes) -> tuple[list[Field], list[Part], bool]:
    """Return the fields of a mail, its parts without parts, and whether there are more than are looked at.

    Raises BadMailError for header fields without end.
    """
    fields, body = fields_untrusted(data, 0, len(data), HEADER_BYTES)
    found: list[Part] = []
    waiting = [(fields, body, len(data), 0)]
    seen, is_cut = 0, False
    while waiting:
        own, start, end, depth = waiting.pop()
        about = _about(own)
        boundary = _boundary(about) if about.get_content_maintype() == "multipart" else b""
        if not boundary:
            found.append(_part(about, start, end))
            continue
        inner: list[tuple[list[Field], int, int, int]] = []
        for begin, stop in _between(data, boundary, start, end):
            seen += 1
            if seen > PARTS or depth >= DEPTH:
                is_cut = True
                break
            try:
                its, begins = fields_untrusted(data, begin, stop, PART_HEADER_BYTES)
            except BadMailError:
                is_cut = True
                continue
            inner.append((its, begins, stop, depth + 1))
        waiting += reversed(inner)
    return fields, found, is_cut


def _between(data: bytes, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the parts of a multipart begin and end (RFC 2046 section 5.1.1)."""
    delimiter = b"--" + boundary
    at, begin = start, -1
    while (found := data.find(delimiter, at, end)) >= 0:
        at = found + len(delimiter)
        if found > start and data[found - 1] != 0x0A:
            continue
        is_last = data[at : at + 2] == b"--"
        stop = data.find(b"\n", at, min(end, at + 256))
        line = data[at : stop if stop >= 0 else min(end, at + 256)]
        if not is_last and line.strip(b" \t\r"):
            continue  # a line that only begins as the delimiter does
        if begin >= 0:
            behind = found - 1 if found > begin else found
            yield begin, behind - 1 if behind > begin and data[behind - 1] == 0x0D else max(begin, behind)
        if is_last:
            return
        at = begin = stop + 1 if stop >= 0 else end
    if begin >= 0:
        yield begin, end


def _about(fields: list[Field]) -> Message:
    """Return what a part says of itself, for the standard library to take apart."""
    about = Message()
    for name in ("content-type", "content-disposition", "content-transfer-encoding"):
        if values := values_of(fields, name):
            about[name] = values[0][:1000]
    return about


def _boundary(about: Message) -> bytes:
    value = _parameter(about, "boundary", "content-type")
    return value.encode("utf-8", "replace") if 0 < len(value) <= 200 else b""


def _part(about: Message, start: int, end: int) -> Part:
    name = _parameter(about, "filename", "content-disposition") or _parameter(about, "name", "content-type")
    disposition = str(about.get("content-disposition") or "").strip().lower()
    kind = about.get_content_type()
    return Part(
        "application/octet-stream" if kind.startswith("multipart/") else kind,
        _parameter(about, "charset", "content-type").lower(),
        str(about.get("content-transfer-encoding") or "").strip().lower(), words_untrusted(name),
        disposition.startswith("attachment"), start, end,
    )  # fmt: skip


def _parameter(about: Message, name: str, field: str) -> str:
    try:
        value = about.get_param(name, "", field)
    except (ValueError, LookupError, MessageError, TypeError, AttributeError):
        return ""
    if isinstance(value, tuple):  # RFC 2231
        charset, _, text = value
        return decoded_untrusted(text.encode("latin-1", "replace"), charset or "utf-8")
    return value if isinstance(value, str) else ""


def content_untrusted(data: bytes, part: Part, most: int) -> bytes:
    """Return what a part has in it, of which up to `most` encoded bytes are looked at. Cannot fail."""
    raw = data[part.start : min(part.end, part.start + most)]
    if part.encoding == "base64":
        raw = raw.translate(None, _NOT_BASE64)
        raw = raw[: len(raw) - (len(raw) % 4 == 1)]
        return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4))
    if part.encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    return raw
