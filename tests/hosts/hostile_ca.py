"""A CA that a test controls, for hosts that order of it: it speaks ACME, and does what its `mode` says.

    with HostileCA() as ca:
        ca.mode = "redirect"

It asks for no proof, so an order needs the door for nothing; but in the mode `looks_at_once` it asks for http-01, at
`http_port`, before it answers that it is asked to, as step-ca does. What it issues is for the key and the names of the
order unless the mode says otherwise.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import tempfile
import threading
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tlsrt.config import pki

HUGE = 1 << 30
_TOKEN = "t" * 43
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hostile")])


class HostileCA:
    """One CA on loopback."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tlsrt-hostile."))
        self.folder.chmod(0o755)
        ca = pki.make_ca(bytes(16), datetime.now(UTC))
        own = pki.issue_server(ca, bytes(16), "127.0.0.1", datetime.now(UTC))
        self.roots = self.folder / "roots.pem"
        self.roots.write_bytes(ca.certificate_pem)
        (self.folder / "own.pem").write_bytes(own.certificate_pem + own.key_pem)
        self.mode = "honest"
        self.http_port, self.is_proved = 0, False
        self.sent = 0  # bytes of a huge answer
        self.request: x509.CertificateSigningRequest | None = None
        self.bait = socket.create_server(("127.0.0.1", 0))  # where it would have the host connect to
        self.bait.settimeout(0.2)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "own.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def acme(self, **more: Any) -> dict[str, Any]:
        """Return the section `acme` of a host that orders here."""
        return {"directory": f"{self.url}/dir", "agree": True, "roots": str(self.roots), **more}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.bait.close()
        shutil.rmtree(self.folder)

    def is_bait_taken(self) -> bool:
        """Tell whether anything has connected to where it sends the host."""
        try:
            self.bait.accept()[0].close()
        except TimeoutError:
            return False
        return True

    def chain(self) -> bytes:
        """Return what it issues, PEM."""
        assert self.request is not None
        names = self.request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key: Any = self.request.public_key()
        if self.mode == "other_key":
            key = self._key.public_key()
        if self.mode == "other_names":
            names = x509.SubjectAlternativeName([*names, x509.DNSName("evil.example.org")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(_NAME).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(1))
        builder = builder.not_valid_after(now + timedelta(90)).add_extension(names, critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ca = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with suppress(OSError):  # the host hangs up
                    super().handle()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self._answer({})

            def do_GET(self) -> None:
                bait = f"https://127.0.0.1:{ca.bait.getsockname()[1]}"
                if ca.mode == "redirect":
                    self._answer({}, 302, location=bait)
                elif ca.mode == "huge":
                    self._huge()
                elif ca.mode == "slow":
                    self._slow()
                else:
                    names = ("newNonce", "newAccount", "newOrder")
                    places = {name: f"{ca.url}/{name}" for name in names}
                    self._answer(places | ({"newOrder": f"{bait}/o"} if ca.mode == "elsewhere" else {}))

            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/fin":
                    payload = json.loads(base64.urlsafe_b64decode(sent["payload"] + "==="))
                    ca.request = x509.load_der_x509_csr(base64.urlsafe_b64decode(payload["csr"] + "==="))
                    self._answer({})
                elif self.path == "/authz" and ca.mode == "looks_at_once":
                    challenge = {"type": "http-01", "url": f"{ca.url}/chall", "token": _TOKEN}
                    named = {"type": "dns", "value": "kettle.example.org"}
                    status = "valid" if ca.is_proved else "pending"
                    self._answer({"status": status, "identifier": named, "challenges": [challenge]})
                elif self.path == "/authz":
                    self._answer({"status": "valid"})
                elif self.path == "/chall":
                    place = f"http://127.0.0.1:{ca.http_port}/.well-known/acme-challenge/{_TOKEN}"
                    with urllib.request.urlopen(place, timeout=10) as found:
                        ca.is_proved = found.read().startswith(f"{_TOKEN}.".encode())
                    self._answer({})
                elif self.path == "/cert":
                    self._send(ca.chain())
                elif self.path == "/order":
                    status = "ready" if ca.request is None else "valid"
                    self._answer({"status": status, "finalize": f"{ca.url}/fin", "certificate": f"{ca.url}/cert"})
                else:
                    ca.request = None
                    self._answer(
                        {"status": "pending", "authorizations": [f"{ca.url}/authz"]}, location=f"{ca.url}/order"
                    )

            def _answer(self, document: object, status: int = 200, location: str = "") -> None:
                self._send(json.dumps(document).encode(), status, location)

            def _send(self, body: bytes, status: int = 200, location: str = "") -> None:
                self.send_response(status)
                self.send_header("Replay-Nonce", "nonce")
                self.send_header("Content-Length", str(len(body)))
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def _huge(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                ca.sent = 0
                while ca.sent < HUGE:
                    ca.sent += self.wfile.write(bytes(1 << 16))

            def _slow(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while ca.mode == "slow":
                    self.wfile.write(b" ")
                    threading.Event().wait(0.05)

        return Handler
