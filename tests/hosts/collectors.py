"""Collectors of logs for tests: certificates, servers that behave as they are told, and a real rsyslog."""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from hosts.running_host import free_port
from tlsrt.config import pki

NAME = "collector.example"
_INSTALL = bytes(16)
_ID = re.compile(r'"(traceId|spanId|parentSpanId)": "([0-9a-f]+)"')


@dataclass(frozen=True)
class Files:
    """A CA, a certificate for a collector at 127.0.0.1 with a name, and one of the same CA for a host."""

    ca: Path
    certificate: Path
    key: Path
    host_certificate: Path
    host_key: Path


def make_files(folder: Path) -> Files:
    """Write them into a folder."""
    now = datetime.now(UTC)
    ca = pki.make_ca(_INSTALL, now)
    server = pki.issue_server(ca, _INSTALL, "127.0.0.1", now, (NAME,))
    client = pki.issue_client(ca, _INSTALL, "host", now)
    names = {
        "ca.crt": ca.certificate_pem, "collector.crt": server.certificate_pem, "collector.key": server.key_pem,
        "host.crt": client.certificate_pem, "host.key": client.key_pem,
    }  # fmt: skip
    for name, data in names.items():
        (folder / name).write_bytes(data)
    return Files(*(folder / name for name in names))


def until(true: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    """Wait for something that a thread or a file says."""
    limit = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < limit, f"there never was {what}"
        time.sleep(0.02)


Behave = Callable[[socket.socket], None]


@dataclass
class Collector:
    """A TCP server with a thread for each connection; `behave` may be exchanged while it runs."""

    behave: Behave
    context: ssl.SSLContext | None = None
    port: int = field(default_factory=free_port)
    connections: int = 0
    _listener: socket.socket | None = None
    _open: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open = []

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with suppress(OSError, ValueError):  # ssl.SSLError is an OSError
            if self.context is not None:
                peer = self.context.wrap_socket(peer, server_side=True)
                self._open.append(peer)
            self.behave(peer)
        peer.close()


def server_context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


@dataclass
class SyslogMessages:
    """What comes as syslog by octet counting."""

    messages: list[str] = field(default_factory=list)

    def read(self, peer: socket.socket) -> None:
        stream = peer.makefile("rb")
        while digits := stream.read(1):
            while not digits.endswith(b" "):
                digits += stream.read(1)
            self.messages.append(stream.read(int(digits)).decode())


@dataclass
class OtlpRequests:
    """Answers requests of OTLP/HTTP; `status` and `more` may be exchanged while it runs."""

    bodies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    status: str = "200 OK"
    more: str = ""  # lines of the head

    def read(self, peer: socket.socket) -> None:
        stream = peer.makefile("rb")
        if not (first := stream.readline()):
            return  # the connection for what may come last
        path = first.split()[1].decode()
        length = 0
        while (line := stream.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = json.loads(stream.read(length))
        if self.status.startswith("2"):
            self.bodies.append((path, body))
        peer.sendall(f"HTTP/1.1 {self.status}\r\n{self.more}Content-Length: 2\r\n\r\n{{}}".encode())

    def records(self) -> list[dict[str, Any]]:
        return [
            record for _, body in [*self.bodies] for one in body.get("resourceLogs", ())
            for scope in one["scopeLogs"] for record in scope["logRecords"]
        ]  # fmt: skip

    def spans(self) -> list[Span]:
        """Return all spans, as the library of OpenTelemetry reads them."""
        found: list[Span] = []
        for path, body in [*self.bodies]:
            if path.endswith("/v1/traces"):
                request = ExportTraceServiceRequest()
                json_format.Parse(_ID.sub(_as_base64, json.dumps(body)), request)  # which knows no hex, as OTLP has it
                found += [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
        return found


def attributes_of(span: Span) -> dict[str, str]:
    """Return the attributes of a span."""
    return {one.key: one.value.string_value for one in span.attributes}


def _as_base64(found: re.Match[str]) -> str:
    return f'"{found[1]}": "{base64.b64encode(bytes.fromhex(found[2])).decode()}"'


@contextmanager
def rsyslog(files: Files, folder: Path, program: str) -> Iterator[tuple[int, Callable[[], list[dict[str, Any]]]]]:
    """Run rsyslogd that wants a certificate; give its port, and what it has written so far."""
    port, out = free_port(), folder / "out.json"
    (folder / "rsyslog.conf").write_text(f"""
global(workDirectory="{folder}" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{files.ca}"
       defaultNetstreamDriverCertFile="{files.certificate}" defaultNetstreamDriverKeyFile="{files.key}")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="json" type="string" string="%jsonmesg%\\n")
action(type="omfile" file="{out}" template="json")
""")
    process = subprocess.Popen(
        [program, "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")], stderr=subprocess.DEVNULL
    )

    def written() -> list[dict[str, Any]]:
        text = out.read_text() if out.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    try:
        yield port, written
    finally:
        process.terminate()
        process.wait(10)
