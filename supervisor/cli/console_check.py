"""`tlsrt-supervisor console --check`: compare the page at the door with the one that is installed.

It asks as a browser does, for gzip, and for the plain form too, so that a door that serves all alike is found out. One
that knows this question by its address or its manner, and answers it alone with the right files, is not: compare what a
browser has saved for that.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import ssl
import zlib
from collections.abc import Mapping

from tlsrt.command_line.table import Document
from tlsrt.config.console_page import FILE_MAX, INDEX, digest_of
from tlsrt.errors import EX_FAILED, InvalidArgument, Unavailable

_TIMEOUT_S = 10.0
_REQUESTS = 32  # files on one connection, each asked for twice: the door ends it after 64
_GZIP = 31  # of zlib: the largest window, with the head of gzip


def check_page(arguments: argparse.Namespace, door: str, files: Mapping[str, bytes], certificate: str) -> int:
    """Print what differs, and return the exit code. `certificate` is the one to be seen, or empty for any."""
    served, seen = _served(door, files)
    different = sorted(name for name, body in files.items() if served.get(name) != body)
    is_other = bool(certificate) and seen != certificate
    answer: Document = {
        "door": door, "page": digest_of(files), "served": digest_of({n: b for n, b in served.items() if b is not None}),
        "different": {name: {"page": _hash(files[name]), "served": _hash(served.get(name))} for name in different},
        "certificate": seen, "is_other_certificate": is_other,
    }  # fmt: skip
    print(json.dumps(answer) if arguments.json else "\n".join(_lines(answer)))
    return EX_FAILED if different or is_other else 0


def _lines(answer: Document) -> list[str]:
    door, page = answer["door"], answer["page"]
    lines = [
        f"{name} is not the file that is installed: its hash is {one['served'] or '-'} at the door, {one['page']} here"
        for name, one in answer["different"].items()
    ]
    if answer["is_other_certificate"]:
        lines.append(f"{door} shows another certificate than this host's: {answer['certificate']}")
    if lines:
        return [
            *lines,
            f"the page at {door} is not the one with the hash {page}: Primary was not started anew after an update "
            "(`tlsrt-supervisor restart primary`), or it is captured. Until you know, open no link of it, and lock the "
            "host: `tlsrt-supervisor lock`",
        ]
    return [f"{door} serves the page that is installed, with the hash {page}"]


def _hash(body: bytes | None) -> str:
    return "" if body is None else hashlib.sha256(body).hexdigest()


def _served(door: str, files: Mapping[str, bytes]) -> tuple[dict[str, bytes | None], str]:
    """Return what the door serves by the name of each file, and the fingerprint of its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is compared with the one of this host, which is more
    context.set_alpn_protocols(["http/1.1"])
    found: dict[str, bytes | None] = {}
    fingerprint = ""
    names = sorted(files)
    try:
        for at in range(0, len(names), _REQUESTS):
            connection = http.client.HTTPSConnection(door, timeout=_TIMEOUT_S, context=context)
            try:
                for name in names[at : at + _REQUESTS]:
                    path = "" if name == INDEX else name
                    found[name] = _file(connection, path, "gzip, deflate, br, zstd")
                    if found[name] == files[name]:  # or the plain form, if that is the one that is not right
                        found[name] = _file(connection, path, "identity")
                    fingerprint = _fingerprint(connection) or fingerprint
            finally:
                connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"cannot get the page from https://{door}/: {error}; is the host running?") from error
    return found, fingerprint


def _file(connection: http.client.HTTPSConnection, name: str, codings: str) -> bytes | None:
    connection.request("GET", f"/{name}", headers={"Accept-Encoding": codings})
    answer = connection.getresponse()
    body = answer.read(FILE_MAX + 1)
    if answer.status == http.client.MISDIRECTED_REQUEST:
        raise InvalidArgument(
            f"the host's certificate does not name {connection.host}: give one that it does, by --address"
        )
    if answer.status != http.client.OK:
        return None
    return _unpacked_untrusted(body) if answer.headers.get("Content-Encoding") == "gzip" else body


def _unpacked_untrusted(body: bytes) -> bytes | None:
    """Return what is in a gzip; None if it is none, or has more than a file of the page may have. Cannot fail."""
    unpacking = zlib.decompressobj(_GZIP)
    try:
        found = unpacking.decompress(body, FILE_MAX + 1)
    except zlib.error:
        return None
    return found if unpacking.eof and not unpacking.unused_data else None


def _fingerprint(connection: http.client.HTTPSConnection) -> str:
    der = connection.sock.getpeercert(binary_form=True) if isinstance(connection.sock, ssl.SSLSocket) else None
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest()) if der else ""
