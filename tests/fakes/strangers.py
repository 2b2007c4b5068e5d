"""A door without a host, and strangers at it: engines of TLS, a signed open, and backends that only record."""

from __future__ import annotations

import asyncio
import inspect
import os
import ssl
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from hosts.door_host import memory_file

from tlsrt.channels.session import grant
from tlsrt.channels.tls.engine import TlsEngine
from tlsrt.config import pki
from tlsrt.loops.door.tls_contexts import server_context


def untrusted_of(module: ModuleType) -> Iterator[str]:
    for name, thing in vars(module).items():
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing):
            yield from (f"{name}.{method}" for method in vars(thing) if method.endswith("_untrusted"))
        elif name.endswith("_untrusted"):
            yield name


INSTALL, BOOT, CHALLENGE = b"i" * 16, b"b" * 16, b"c" * 32


NOW = datetime.now(UTC)


CA = pki.make_ca(INSTALL, NOW)


SERVER, CLIENT = pki.issue_server(CA, INSTALL, "localhost", NOW), pki.issue_client(CA, INSTALL, "admin", NOW)


NAMES = ("tlsrt/1", "http/1.1")


class Contexts(NamedTuple):
    server: ssl.SSLContext
    clients: dict[str, ssl.SSLContext]  # by the ALPN name that they offer


def make_contexts() -> Contexts:
    files = [memory_file(data) for data in (SERVER.certificate_pem, SERVER.key_pem, CA.certificate_pem)]
    server = server_context(files[0], files[1], files[2], NAMES)
    for descriptor in files:
        os.close(descriptor)
    files = [memory_file(CLIENT.certificate_pem), memory_file(CLIENT.key_pem)]
    clients: dict[str, ssl.SSLContext] = {}
    for protocol in NAMES:
        context = clients[protocol] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=CA.certificate_pem.decode())
        context.load_cert_chain(f"/proc/self/fd/{files[0]}", f"/proc/self/fd/{files[1]}")
        context.set_alpn_protocols([protocol])
    for descriptor in files:
        os.close(descriptor)
    return Contexts(server, clients)


CONTEXTS = make_contexts()


def server_engine() -> TlsEngine:
    return TlsEngine(CONTEXTS.server, server_side=True, protocols=NAMES)


def client_engine(protocol: str = NAMES[0]) -> TlsEngine:
    context = CONTEXTS.clients[protocol]
    return TlsEngine(context, server_side=False, protocols=(protocol,), server_name="localhost")


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on an event loop; whatever is thrown at the loop itself, or left in a task, fails."""
    thrown: list[dict[str, Any]] = []

    async def outer() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: thrown.append(context))
        await work()

    asyncio.run(outer())
    assert not thrown, thrown


CLIENT_DER = load_pem_x509_certificate(CLIENT.certificate_pem).public_bytes(Encoding.DER)


def signed_open() -> tuple[bytes, bytes]:
    key = load_pem_private_key(CLIENT.key_pem, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    data = grant.encode_open(grant.Open(INSTALL, BOOT, CHALLENGE, CLIENT_DER, b"e" * 32))
    return data, grant.sign_open(key, data)


OPEN, SIGNED = signed_open()


class RecordingBackend:
    """A backend that takes everything and answers when it is told to."""

    def __init__(self) -> None:
        self.opens: list[tuple[bytes, bytes]] = []
        self.locks: list[tuple[bytes, str, bytes]] = []  # or unlocks, without a reason
        self.challenges = 0
        self.frames: list[bytes] = []
        self.delegated: list[bytes] = []
        self.closings = 0

    def on_client(self, connection: int, address: str, certificate: bytes) -> None:
        """Note nothing."""

    def ask(self, name: str, connection: int, *fields: Any) -> None:
        if name == "challenge":
            self.challenges += 1
        elif name == "lock":
            self.locks.append(fields)
        elif name == "unlock":
            self.locks.append((fields[0], "", fields[1]))
        elif name == "renew":
            self.frames.append(fields[0])
        elif name == "open":
            self.opens.append(fields)
        elif name == "delegate":
            self.delegated.append(fields[0])

    def on_http_request(self, connection: int, target: str, authorization: str, *, is_foreign: bool) -> None:
        pass

    def frame(self, connection: int, frame: bytes) -> str:
        self.frames.append(frame)
        return ""

    def on_closed(self, connection: int) -> None:
        self.closings += 1

    def is_offence_too_many(self, connection: int) -> bool:
        return False

    def on_refused(self, address: str, word: str) -> None:
        pass

    def on_offence(self, key: str, connection: int, word: str) -> None:
        pass

    def on_over_places(self, client: str) -> None:
        pass


class RecordingEnrolments:
    """Takes what an enrolment asks for."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes, bytes]] = []
        self.closings = 0

    def on_client(self, connection: int, address: str, certificate: bytes) -> None:
        """Note nothing."""

    def ask(self, number: int, code_id: bytes, request: bytes, mac: bytes) -> None:
        self.asked.append((code_id, request, mac))

    def on_closed(self, number: int) -> None:
        self.closings += 1
