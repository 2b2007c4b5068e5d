"""The files of the console's page, in memory, and the answers to requests for them.

They are read once, before the process seals itself; no request opens a file, so no path can lead anywhere else. What
the browser is told about them (Content-Security-Policy) lets the page run its own scripts, and no others, and connect
to this host alone.

A file is kept as gzip (RFC 1952) alone, made when it is read, as every browser takes that. Who does not gets it
unpacked for each answer: 22 us for one of 5 KB, instead of the memory for both.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from tlsrt.config.console_page import INDEX, MEDIA_TYPES, digest_of

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; manifest-src 'self'; "
    "worker-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
STRICT: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

# The frame of pages that components bring. Its origin is opaque, so nothing in it has the browser's key, and it has no
# network. It executes its one script and a worker that this makes of what the console gives it, and shows nothing: in a
# worker there is no document, so none of what lets a page out past this policy (WebRTC, preconnect, prefetch).
FRAME = "frame.html"
_GZIP = 31  # of zlib: the largest window, and the head of gzip, without a time or a name
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def _of_frame(body: bytes) -> Mapping[str, str]:
    """Return what a browser is told about the frame."""
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode("ascii") for script in _SCRIPT.findall(body)]
    scripts = " ".join(f"'sha256-{each}'" for each in hashes)
    policy = (
        f"sandbox allow-scripts; default-src 'none'; script-src {scripts}; worker-src blob:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'"
    )
    return {
        **STRICT,
        "Content-Security-Policy": policy,
        "Permissions-Policy": STRICT["Permissions-Policy"].replace("microphone=(self)", "microphone=()"),
        "X-Frame-Options": "SAMEORIGIN",
    }


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is sent."""

    media_type: str
    packed: bytes  # gzip
    size: int  # bytes, unpacked
    digest: str  # SHA-256 of it unpacked
    strict: Mapping[str, str]  # what the browser is told that it may do

    @property
    def body(self) -> bytes:
        """Return it unpacked."""
        return zlib.decompress(self.packed, _GZIP, self.size)

    def tag(self, *, packed: bool) -> str:
        """Return the ETag, which each form has to have of its own (RFC 9110, 8.8.3)."""
        return f'"{self.digest}-gzip"' if packed else f'"{self.digest}"'


def _file(name: str, body: bytes) -> PageFile:
    strict = _of_frame(body) if name == FRAME else STRICT
    packed = zlib.compress(body, 9, _GZIP)
    return PageFile(MEDIA_TYPES[Path(name).suffix], packed, len(body), hashlib.sha256(body).hexdigest(), strict)


class PageFiles:
    """The files by their exact path; `/` is the index."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.digest = digest_of(files)
        self._by_path = {f"/{name}": _file(name, body) for name, body in files.items()}
        self._by_path["/"] = self._by_path[f"/{INDEX}"]

    def find(self, path: str) -> PageFile | None:
        """Return the file of exactly this path."""
        return self._by_path.get(path)


def file_answer(file: PageFile, tags: str, *, takes_gzip: bool, is_head: bool, keeps: bool) -> bytes:
    """Return the answer with a file, or that the browser has it already. It asks each time: the page may change."""
    tag = file.tag(packed=takes_gzip)
    fields = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if tag in [one.strip().removeprefix("W/") for one in tags.split(",")]:
        return _head(304, fields, file.strict, keeps=keeps)
    if takes_gzip:
        fields["Content-Encoding"] = "gzip"
    size = len(file.packed) if takes_gzip else file.size
    fields |= {"Content-Type": file.media_type, "Content-Length": str(size)}
    head = _head(200, fields, file.strict, keeps=keeps)
    if is_head:
        return head
    return head + (file.packed if takes_gzip else file.body)


def refusal_answer(status: int, sentence: str) -> bytes:
    """Return a tiny page that says why there is nothing; the connection ends with it."""
    body = f"{status} {HTTPStatus(status).phrase}: {sentence}\n".encode()
    fields = {
        "Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), "Cache-Control": "no-store",
    }  # fmt: skip
    if status == 405:
        fields["Allow"] = "GET, HEAD"
    if status == 426:
        fields |= {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    return _head(status, fields, STRICT, keeps=False) + body


def upgrade_answer(accept: str, protocol: str) -> bytes:
    """Return the answer after which WebSocket begins."""
    fields = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept,
        "Sec-WebSocket-Protocol": protocol,
    }  # fmt: skip
    return _lines(101, fields)


def _head(status: int, fields: Mapping[str, str], strict: Mapping[str, str], *, keeps: bool) -> bytes:
    return _lines(status, {**fields, **strict, **({} if keeps else {"Connection": "close"})})


def _lines(status: int, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
