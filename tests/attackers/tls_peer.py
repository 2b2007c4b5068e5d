"""A client of the door that obeys nobody: real TLS 1.3, and then whatever bytes a test likes. Blocking sockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from hosts.running_host import RunningHost

from attackers.arena import seal
from tlsrt.channels.client.connection import client_context
from tlsrt.channels.frames.frame import FrameKind, Header
from tlsrt.channels.session.grant import GrantContent, Right, parse_open_untrusted
from tlsrt.channels.session.opening import Opening, identity_of
from tlsrt.channels.tls.message_stream import (
    PAYLOAD_MAX,
    Control,
    StreamReader,
    encode_control,
    is_frame,
    parse_control_untrusted,
    wrap,
)
from tlsrt.config.bundle import Bundle

PATIENCE_S = 10.0


class TlsPeer:
    """One TLS connection with the certificate of a bundle. `opening` makes honest opens."""

    content: GrantContent
    open_data: bytes
    signature: bytes
    grant: tuple[Any, ...]

    def __init__(
        self, host: RunningHost, name: str = "admin", *, context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:  # fmt: skip
        bundle = host.bundle(name)
        self.identity = identity_of(bundle)
        self.opening = Opening(self.identity)
        plain = socket.create_connection(("127.0.0.1", host.port), PATIENCE_S)
        self.context = context or client_context(bundle)
        self._socket = self.context.wrap_socket(plain, server_hostname=bundle.server_name, session=session)
        self._reader = StreamReader(PAYLOAD_MAX)
        self._payloads: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def tls_session(self) -> ssl.SSLSession | None:
        """What might be resumed."""
        return self._socket.session

    @property
    def is_resumed(self) -> bool:
        return bool(self._socket.session_reused)

    # -- bytes -------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def send(self, *payloads: bytes) -> None:
        """Send payloads, each with its length before it."""
        self.write(b"".join(wrap(payload) for payload in payloads))

    def payload(self) -> bytes:
        """Return the next payload of the server; b"" when it has ended the connection."""
        while not self._payloads:
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                return b""
            except ssl.SSLError as error:
                if error.reason == "UNEXPECTED_EOF_WHILE_READING" or isinstance(error, ssl.SSLEOFError):
                    return b""  # the first is what Python before 3.11.4 says
                raise
            if not data:
                return b""
            self._payloads += self._reader.feed_untrusted(data)
        return self._payloads.pop(0)

    def control(self) -> Control:
        """Return the next control message; frames before it are left out. An ended connection is Control("", ())."""
        while True:
            payload = self.payload()
            if not payload:
                return Control("", ())
            if not is_frame(payload):
                return parse_control_untrusted(payload, "server")

    def frame(self) -> bytes:
        """Return the next frame; control messages before it are left out. b"" at the end."""
        while True:
            payload = self.payload()
            if not payload or is_frame(payload):
                return payload

    # -- the honest way ----------------------------------------------------------------------------------------

    def challenge(self) -> tuple[bytes, bytes, bytes]:
        """Wait for the challenge: install, boot, challenge."""
        control = self.control()
        assert control.name == "challenge", control
        return control.fields[:3]

    def open(self) -> None:
        """Open a session as an honest client does."""
        self.open_data, signature = self.opening.answer_untrusted(*self.challenge())
        self._open(signature)

    def open_as(self, bundle: Bundle) -> None:
        """Open a session with the certificate and key of another bundle than the one that TLS was spoken with."""
        self.identity = identity_of(bundle)
        self.opening = Opening(self.identity)
        self.open()

    def opening_again(self) -> tuple[bytes, bytes]:
        """Return a second open, with the challenge of the first."""
        wish = parse_open_untrusted(self.open_data)
        return Opening(self.identity).answer_untrusted(wish.install, wish.boot, wish.challenge)

    def _open(self, signature: bytes) -> None:
        self.signature = signature
        self.send(encode_control("open", self.open_data, signature))
        control = self.control()
        while control.name == "succession":
            self.opening.follow_untrusted(*control.fields)
            control = self.control()
        assert control.name == "granted", control
        self.grant = control.fields
        self.content = self.opening.accept_untrusted(*control.fields)

    def right(self, target: str) -> Right:
        return next(right for right in self.content.rights if right.target == target)

    def header(self, target: str, method: str, seq: int, *, kind: int = FrameKind.REQUEST) -> Header:
        """Return the header of an honest request."""
        content = self.content
        return Header(
            1, kind, content.session, seq, 0, content.subject, target, self.right(target).mailbox, content.gate, method,
            content.epoch, content.now + 60_000, b"", 0,
        )  # fmt: skip


def request(peer: TlsPeer, target: str, method: str, seq: int, body: bytes) -> bytes:
    """Return an honest request under the peer's session."""
    return seal(
        peer.header(target, method, seq), body, token=peer.content.token, body_key=peer.right(target).key,
        proof_key=peer.content.proof_key,
    )  # fmt: skip


@contextmanager
def open_session(host: RunningHost, name: str) -> Iterator[TlsPeer]:
    """A connection with a session."""
    with TlsPeer(host, name) as peer:
        peer.open()
        yield peer
