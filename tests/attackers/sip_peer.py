"""A peer that speaks SIP over TLS to a host, and lies as it likes. Blocking."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Self

from tlsrt.loops.sip.digest import fields_untrusted, response_of
from tlsrt.loops.sip.framing import SipFraming
from tlsrt.loops.sip.message import SipMessage

URI = "sip:third.door@127.0.0.1"


class SipPeer:
    """One connection to a port of this machine, from an address of loopback; `pair` has certificate and key."""

    def __init__(
        self, port: int, ca: Path, *, pair: tuple[Path, Path] | None = None, source: str = "127.0.0.1"
    ) -> None:
        context = ssl.create_default_context(cafile=ca)
        if pair is not None:
            context.load_cert_chain(*pair)
        raw = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
        self.socket = context.wrap_socket(raw, server_hostname="127.0.0.1")
        self._framing = SipFraming()
        self._waiting: list[SipMessage] = []
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def receive(self) -> SipMessage | None:
        """Return the next message, None at the end."""
        while not self._waiting:
            try:
                data = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not data:
                return None
            self._waiting += self._framing.feed_untrusted(data)
        return self._waiting.pop(0)

    def ask(self, data: bytes) -> int:
        """Send a request and return the final status, 0 if the connection ended."""
        self.send(data)
        while (message := self.receive()) is not None:
            if message.status >= 200:
                self.last = message
                return message.status
        return 0

    def request(
        self, method: str, *, call_id: str = "", count: int = 0, user: str = "anna", tag: str = "peer", to: str = "",
        body: bytes = b"", branch: str = "", **more: str,
    ) -> bytes:  # fmt: skip
        """Return a request."""
        self._count += 1
        call_id, count = call_id or f"call{self._count}", count or self._count
        headers = [
            ("via", f"SIP/2.0/TLS 127.0.0.1:9;branch={branch or f'z9hG4bK{call_id}-{count}'}"),
            ("from", f"<sip:{user}@127.0.0.1>;tag={tag}"), ("to", f"<{URI}>" + (f";tag={to}" if to else "")),
            ("call-id", call_id), ("cseq", f"{count} {method}"), ("contact", f"<sip:{user}@127.0.0.1:9>"),
            ("max-forwards", "70"),
        ]  # fmt: skip
        headers += [("content-type", "application/sdp")] if body else []
        headers += [(name.replace("_", "-"), value) for name, value in more.items()]
        return SipMessage(tuple(headers), body, method, URI).write()

    def proof(self, method: str, password: str, user: str = "anna") -> str:
        """Return the Authorization that answers the question that came last."""
        asked = fields_untrusted(self.last.get("www-authenticate"))
        proof = response_of(
            asked["algorithm"], user, asked["realm"], password, asked["nonce"], "00000001", "c", method, URI
        )
        fields = {**asked, "username": user, "uri": URI, "nc": "00000001", "cnonce": "c", "response": proof}
        return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items())
