"""Requests of browsers without a certificate: one head in, what it asks for out, or a refusal. Pure.

It is not the HTTP of clients with a certificate (loops/http): there is no body, no query, no method but GET and HEAD,
and nothing is asked of any component. So a stranger's bytes meet this file and no library. Its strictness is that of
RFC 9112 without what it lets a server forgive: bare LF, folded fields, blanks before a colon.

Any site may link to the page, and a page is not secret: what a file is asked for is checked by Host alone. The upgrade
is another matter. A script of any site can open a WebSocket, so it has to come from a page of ours (Origin), and Host
has to be a name that the certificate has: a name that an attacker's DNS has led here is not among them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tlsrt.loops.http.site import HostNames, host_of, one_form_untrusted

HEAD_MAX = 8 * 1024  # bytes of a request line and its fields; a browser sends under 1 KiB, and cookies are not ours
FIELDS_MAX = 64
UPGRADE_PATH = "/tlsrt"
_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,4096}) HTTP/(1\.[01])")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_CODINGS_MAX = 256  # bytes of Accept-Encoding that are read; a browser sends 30
_CODING = re.compile(r"([a-z0-9*-]{1,16})(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?", re.IGNORECASE)
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_ONCE = frozenset({
    "host", "origin", "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol",
    "sec-fetch-site", "if-none-match", "content-length", "authorization",
})  # fmt: skip


class WebRefusal(Exception):
    """The answer to a request that gets nothing. `is_fault`: no browser would have sent it."""

    def __init__(self, status: int, sentence: str, *, is_fault: bool = False) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.is_fault = is_fault


@dataclass(frozen=True, slots=True)
class FileRequest:
    """A file of the page that is asked for."""

    path: str
    is_head: bool
    tags: str  # of If-None-Match
    keeps: bool  # the connection stays for another request
    authorization: str  # nothing here takes it; it may be a planted token
    is_foreign: bool  # a page of another site has caused it
    takes_gzip: bool


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """A WebSocket that is asked for."""

    key: str
    protocol: str  # one of ours


def head_untrusted(held: bytearray) -> bytes | None:
    """Return the head at the start of what has come, with its last CRLF; None if it is not whole. Raises WebRefusal."""
    if held and not 0x41 <= held[0] <= 0x5A:  # every method begins with a capital letter
        raise WebRefusal(400, "this is not HTTP/1.1", is_fault=True)
    end = held.find(b"\r\n\r\n", 0, HEAD_MAX)
    if end >= 0:
        return bytes(held[: end + 2])
    if len(held) >= HEAD_MAX:
        raise WebRefusal(431, f"the head of a request has at most {HEAD_MAX} bytes", is_fault=True)
    return None


def request_untrusted(head: bytes, names: HostNames, protocols: Collection[str]) -> FileRequest | UpgradeRequest:
    """Return what a head asks for. `protocols` are the subprotocols that there are now. Raises WebRefusal."""
    method, target, version, fields = _parsed(head)
    if fields.get("content-length", "0") != "0" or "transfer-encoding" in fields:
        raise WebRefusal(413, "a request here has no body", is_fault=True)
    authority = _authority(target, fields, names)
    if method not in ("GET", "HEAD"):
        raise WebRefusal(405, "use GET or HEAD")
    path = target[target.index("/", 8) :] if target.startswith("https://") else target
    if path != UPGRADE_PATH:
        keeps = version == "1.1" and "close" not in _listed(fields.get("connection", ""))
        return FileRequest(
            path, method == "HEAD", fields.get("if-none-match", ""), keeps, fields.get("authorization", ""),
            fields.get("sec-fetch-site", "none") not in ("none", "same-origin"),
            takes_gzip_untrusted(fields.get("accept-encoding", "")),
        )  # fmt: skip
    if method != "GET" or version != "1.1" or "websocket" not in _listed(fields.get("upgrade", "")):
        raise WebRefusal(426, "this is for a WebSocket: open the page of this host")
    return _upgrade(authority, fields, protocols)


def _parsed(head: bytes) -> tuple[str, str, str, Mapping[str, str]]:
    first, *lines = head.split(b"\r\n")[:-1]
    match = _LINE.fullmatch(first)
    if match is None:
        raise WebRefusal(400, "this is not HTTP/1.1", is_fault=True)
    if len(lines) > FIELDS_MAX:
        raise WebRefusal(431, f"a request has at most {FIELDS_MAX} fields", is_fault=True)
    fields: dict[str, str] = {}
    for line in lines:
        # Not one pattern with blanks around a value: it would try all ways to share them, minutes for 8 KiB of blanks.
        packed_name, colon, rest = line.partition(b":")
        if not colon or not _NAME.fullmatch(packed_name) or not _VALUE.fullmatch(rest):
            raise WebRefusal(400, "a field of the request is malformed", is_fault=True)
        name, value = packed_name.decode("ascii").lower(), rest.strip(b" \t").decode("latin-1")
        if name in fields and name in _ONCE:
            raise WebRefusal(400, f"the field {name} stands twice", is_fault=True)
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return match[1].decode("ascii"), match[2].decode("ascii"), match[3].decode("ascii"), fields


def _authority(target: str, fields: Mapping[str, str], names: HostNames) -> str:
    """Return the host and port that a request is for, which have to be ours."""
    authority = fields.get("host", "")
    if target.startswith("https://"):  # it names its host itself, and then that counts (RFC 9112, 3.2.2)
        authority, slash, _ = target[8:].partition("/")
        if not slash:
            raise WebRefusal(400, "the target of a request is a path", is_fault=True)
    elif not target.startswith("/"):
        raise WebRefusal(400, "the target of a request is a path", is_fault=True)
    ours = one_form_untrusted(authority)
    if ours is None:
        raise WebRefusal(400, "Host is a name or address, with a port or without", is_fault=True)
    if not names.knows(host_of(ours)):
        raise WebRefusal(421, "this host has another name: use one that its certificate names")
    return ours


def _upgrade(authority: str, fields: Mapping[str, str], protocols: Collection[str]) -> UpgradeRequest:
    scheme, _, of_origin = fields.get("origin", "").partition("://")
    if scheme != "https" or one_form_untrusted(of_origin) != authority:
        raise WebRefusal(403, "a WebSocket is opened by a page of this host alone")
    if fields.get("sec-fetch-site", "same-origin") != "same-origin":
        raise WebRefusal(403, "a WebSocket is opened by a page of this host alone")
    if "upgrade" not in _listed(fields.get("connection", "")):
        raise WebRefusal(400, "a WebSocket is asked for with Connection: Upgrade", is_fault=True)
    if fields.get("sec-websocket-version") != "13":
        raise WebRefusal(426, "use version 13 of WebSocket", is_fault=True)
    key = fields.get("sec-websocket-key", "")
    if not _is_key(key):
        raise WebRefusal(400, "Sec-WebSocket-Key is 16 bytes in base64", is_fault=True)
    protocol = fields.get("sec-websocket-protocol", "")
    if protocol not in protocols:
        raise WebRefusal(400, f"Sec-WebSocket-Protocol is one of {', '.join(protocols)}")
    return UpgradeRequest(key, protocol)


def _is_key(key: str) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def takes_gzip_untrusted(value: str) -> bool:
    """Return whether this Accept-Encoding has gzip (RFC 9110, 12.5.3). What is odd in any way has not. Cannot fail."""
    if len(value) > _CODINGS_MAX:
        return False
    found: dict[str, bool] = {}
    for part in value.split(","):
        match = _CODING.fullmatch(part.strip(" \t"))
        if match is None:
            if part.strip(" \t"):
                return False
            continue
        name = match[1].lower().removeprefix("x-")
        found[name] = found.get(name, True) and float(match[2] or 1) > 0
    return found.get("gzip", found.get("*", False))


def _listed(value: str) -> list[str]:
    return [part.strip().lower() for part in value.split(",")]
