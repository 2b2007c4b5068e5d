"""One request and its response over a connection of its own (HTTP/1.1, by h11). asyncio.

The other side may be slow, and may lie. h11 refuses what is no HTTP: a head of more than 64 KiB, two lengths, a wrong
chunk, an end before the length that was said. Here a body is bounded by what the caller wants at most, after it is
unpacked, and the whole by a deadline that the caller sets.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

import h11

from tlsrt import Failed, Unavailable
from tlsrt.loops.external.http_target import Hop

HEAD_MAX = 65536
_READ = 65536
_INTERIM_MOST = 8
_ADDRESSES_MOST = 4
_REASONS = {errno.EDQUOT: "the egress budget is used up", errno.EACCES: "no egress rule lists its address by now"}
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # of zlib: with the header of each


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of a response, names in lower case."""

    status: int
    headers: Sequence[tuple[str, str]]


async def exchange(
    hop: Hop, addresses: Sequence[str], context: ssl.SSLContext | None, most: int
) -> AsyncGenerator[Head | bytes, None]:
    """Give the head of the response, then its body in pieces, unpacked.

    Raises Unavailable if no address answers or the certificate is wrong, Failed for what is no response, or too large.
    """
    reader, writer = await _connect(hop, addresses, context)
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_MAX)
        for data in _request(connection, hop):
            writer.write(data)
        with suppress(ConnectionError):  # who answers early may read no more, and its answer is what counts
            await writer.drain()
        async with aclosing(_response(connection, reader, hop, most)) as parts:
            async for part in parts:
                yield part
    finally:
        writer.transport.abort()


async def _connect(
    hop: Hop, addresses: Sequence[str], context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place, problem = hop.target.authority, ""
    for address in addresses[:_ADDRESSES_MOST]:
        try:
            return await asyncio.open_connection(
                address, hop.target.port, limit=_READ, ssl=context, server_hostname=hop.target.host if context else None
            )
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(f"{place} has a certificate that is not trusted: {error.verify_message}") from None
        except ssl.SSLError as error:
            problem = f"TLS with it failed: {error.reason or 'no handshake'}"
        except OSError as error:
            problem = _REASONS.get(error.errno or 0) or os.strerror(error.errno or errno.EIO).lower()
    raise Unavailable(f"{place} cannot be reached: {problem}")


def _request(connection: h11.Connection, hop: Hop) -> list[bytes]:
    headers = [
        ("host", hop.target.authority),
        *hop.headers,
        ("accept-encoding", "gzip, deflate"),
        ("connection", "close"),
    ]
    if hop.body or hop.method in ("POST", "PUT", "PATCH"):
        headers.append(("content-length", str(len(hop.body))))
    events: list[h11.Event] = [h11.Request(method=hop.method, target=hop.target.path, headers=headers)]
    events += [*([h11.Data(data=hop.body)] if hop.body else []), h11.EndOfMessage()]
    return [connection.send(event) or b"" for event in events]


async def _response(
    connection: h11.Connection, reader: asyncio.StreamReader, hop: Hop, most: int
) -> AsyncGenerator[Head | bytes, None]:
    place, interim, unpacking, size = hop.target.authority, 0, _Unpacking("", most), 0
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise Failed(f"{place} sent what is no HTTP response: {error}") from None
        if event is h11.NEED_DATA:
            try:
                data = await reader.read(_READ)
            except (OSError, ssl.SSLError) as error:
                raise Failed(f"{place} ended the connection within a response: {error.strerror or error}") from None
            connection.receive_data(data)
        elif isinstance(event, h11.InformationalResponse):
            interim += 1
            if interim > _INTERIM_MOST or event.status_code == 101:
                raise Failed(f"{place} sent interim responses and no response")
        elif isinstance(event, h11.Response):
            head = Head(
                event.status_code, [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers]
            )
            if hop.method != "HEAD":
                unpacking = _Unpacking(", ".join(v for n, v in head.headers if n == "content-encoding"), most)
            yield head
        elif isinstance(event, h11.Data):
            for piece in unpacking.pieces(bytes(event.data), place):
                size += len(piece)
                if size > most:
                    raise Failed(f"{place} sent more than {most} bytes: raise max_bytes, or stream it")
                yield piece
        elif isinstance(event, h11.EndOfMessage):
            unpacking.end(place)
            return
        else:
            raise Failed(f"{place} ended the connection before a response")


class _Unpacking:
    """Unpacks a body, never more than `most` bytes of it at once: a small one may unpack to anything."""

    def __init__(self, encoding: str, most: int) -> None:
        encoding = encoding.strip().lower()
        self._unknown = encoding if encoding not in ("", "identity", *_WINDOW) else ""
        self._zlib = zlib.decompressobj(_WINDOW[encoding]) if encoding in _WINDOW else None
        self._most = min(most + 1, _READ)
        self._has_any = False

    def pieces(self, data: bytes, place: str) -> Iterable[bytes]:
        """Return what a piece of the body unpacks to. Raises Failed."""
        if self._unknown:
            raise Failed(f"{place} sent a body in {self._unknown[:40]!r}, which was not asked for")
        return [data] if self._zlib is None else self._unpacked(data, place)

    def _unpacked(self, data: bytes, place: str) -> Iterator[bytes]:
        assert self._zlib is not None
        self._has_any = True
        while data:
            try:
                piece = self._zlib.decompress(data, self._most)
            except zlib.error:
                raise Failed(f"{place} sent a body that cannot be unpacked") from None
            if piece:
                yield piece
            data = self._zlib.unconsumed_tail
            if self._zlib.unused_data:
                raise Failed(f"{place} sent more behind a packed body")

    def end(self, place: str) -> None:
        """Raise Failed for a packed body that is cut off."""
        if self._zlib is not None and self._has_any and not self._zlib.eof:
            raise Failed(f"{place} sent a packed body that is cut off")
