"""A web server of 127.0.0.1 that does as it is asked by the path: answers, redirects, or lies. In threads."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

MIB = 1 << 20


class WebServer:
    """Serves until closed; `asked` has each request as (path, headers)."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._context = context
        self.port = int(self._listener.getsockname()[1])
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.ending = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, path: str = "/") -> str:
        return f"http{'s' if self._context else ''}://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self.ending.set()
        with contextlib.suppress(OSError):  # it is closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), peer:
            peer.settimeout(20)
            with self._context.wrap_socket(peer, server_side=True) if self._context else peer as stream:
                with stream.makefile("rb") as file:
                    line = file.readline().decode()
                    headers = {}
                    while (text := file.readline().decode().strip()) != "":
                        name, _, value = text.partition(":")
                        headers[name.lower()] = value.strip()
                    body = file.read(int(headers.get("content-length", 0)))
                method, path, _ = line.split()
                self.asked.append((f"{method} {path}", headers))
                parts = urlsplit(path)
                for data in getattr(self, parts.path.strip("/") or "hello")(parse_qs(parts.query), headers, body):
                    stream.sendall(data)

    def hello(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield whole(b"hello", "cache-control: max-age=60")

    def echo(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield whole(json.dumps({"headers": headers, "body": body.decode()}).encode())

    def tagged(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        if headers.get("if-none-match") == '"1"':
            yield b'HTTP/1.1 304 Not Modified\r\netag: "1"\r\n\r\n'
        else:
            yield whole(b"tagged", 'etag: "1"', "cache-control: no-cache")

    def vary(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        language = headers.get("accept-language", "")
        yield whole(language.encode(), "vary: Accept-Language", "cache-control: max-age=60")

    def go(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield whole(b"", f"location: {query['to'][0]}", status=f"{query.get('status', ['302'])[0]} Go")

    def short(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfew"

    def chunks(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"

    def two_lengths(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"

    def endless_head(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        while not self.ending.is_set():
            yield b"x: " + b"y" * 8000 + b"\r\n"

    def interim(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        while not self.ending.is_set():
            yield b"HTTP/1.1 100 Continue\r\n\r\n"

    def garbage(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield b"\x00\x01 I am no web server\r\n\r\n"

    def nothing(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield b""

    def bomb(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield whole(gzip.compress(bytes(256 * MIB), 9), "content-encoding: gzip")

    def packed(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield whole(gzip.compress(b"packed" * 1000), "content-encoding: gzip")

    def cut_packed(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield whole(gzip.compress(b"packed" * 1000)[:-9], "content-encoding: gzip")

    def silent(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        self.ending.wait(20)
        yield b""

    def big(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        yield f"HTTP/1.1 200 OK\r\ncontent-length: {24 * MIB}\r\n\r\n".encode()
        for _ in range(24):
            yield b"b" * MIB


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a response with its length."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
