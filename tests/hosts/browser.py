"""A client that speaks HTTP with a host, in the words of the standard library."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

from hosts.running_host import RunningHost
from tlsrt.channels.client.connection import client_context

Browser = Callable[..., http.client.HTTPSConnection]
JSON = {"Content-Type": "application/json"}


def context_of(host: RunningHost, name: str = "web", protocol: str = "http/1.1") -> ssl.SSLContext:
    """Return what a client of this name speaks TLS with."""
    context = client_context(host.bundle(name))
    context.set_alpn_protocols([protocol])
    return context


def browsers(host: RunningHost) -> Iterator[Browser]:
    """Give what makes connections of a client by its name; close them in the end."""
    made: list[http.client.HTTPSConnection] = []

    def make(name: str = "web") -> http.client.HTTPSConnection:
        made.append(http.client.HTTPSConnection("127.0.0.1", host.port, context=context_of(host, name), timeout=30))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


def ask(
    connection: http.client.HTTPSConnection, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, Any, http.client.HTTPResponse]:
    """Ask over a connection; return status, document and answer."""
    connection.request(method, path, None if body is None else json.dumps(body), {**JSON, **headers})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()), answer


def call(connection: http.client.HTTPSConnection, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Call a method by its path; return status and document."""
    status, value, _ = ask(connection, "POST", f"/v1/call/{path}", body, **headers)
    return status, value


def raw(host: RunningHost, data: bytes, name: str = "web") -> bytes:
    """Send bytes over TLS and read to the end."""
    plain = socket.create_connection(("127.0.0.1", host.port), timeout=30)
    with plain, context_of(host, name).wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        secure.sendall(data)
        received = b""
        while piece := secure.recv(65536):
            received += piece
        return received
