"""What stands behind the door: the authority and the gate, as Primary reaches them. A protocol."""

from __future__ import annotations

from typing import Any, Protocol

from tlsrt.loops.door.service import ServerObserver


class DoorBackend(ServerObserver, Protocol):
    """Connections are known to it by number. What clients say is unchecked."""

    def on_client(self, connection: int, address: str, certificate: bytes) -> None:
        """A connection is that of a client at this address, whose TLS has shown this certificate (DER) or none."""

    def ask(self, name: str, connection: int, *fields: Any) -> None:
        """Pass on what a client asks of the authority, under its name in the trust table. The door gets the answer.

        challenge -> challenged; open -> granted; delegate -> delegated; renew -> renewed; lock, unlock -> answered;
        enrol -> enrolled or not_enrolled; refused answers any of them. Raises PeerError to end the connection: "busy"
        if it is not the client's fault.
        """

    def frame(self, connection: int, frame: bytes) -> str:
        """A client with a session sends a frame; raise PeerError to end the connection.

        Return the word of its refusal, or nothing if it passed or came too late, which is no offence.
        """

    def on_http_request(self, connection: int, target: str, authorization: str, *, is_foreign: bool) -> None:
        """An HTTP client asks for something; whatever this finds, the answer is the same.

        A foreign request is one that a page of another site has caused.
        """

    def on_closed(self, connection: int) -> None:
        """A connection that asked for a challenge or a session has ended."""
