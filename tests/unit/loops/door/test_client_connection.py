"""The word that a client hears when what it asked cannot be passed on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tlsrt.channels.tls.message_stream import StreamReader, encode_control, parse_control_untrusted, wrap
from tlsrt.errors import PeerError
from tlsrt.loops.door.client_connection import ClientConnection, ConnectionStage
from tlsrt.loops.door.locked_door import LockedConnection


class Refusing:
    """A connection of a client, as its link sees it, and a backend that passes nothing on."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self.ended = ""
        self.written = b""

    def on_client(self, connection: int, address: str, certificate: bytes) -> None:
        """Note nothing."""

    def ask(self, name: str, connection: int, *fields: object) -> None:
        raise PeerError(self._reason)

    def write(self, data: bytes) -> None:
        self.written += data

    def fail(self, reason: str) -> None:
        self.ended = reason


@pytest.mark.parametrize(("reason", "word"), [("busy", "busy"), ("not_msgpack", "rejected")])
def test_a_client_is_rejected_only_for_what_is_its_own_fault(reason: str, word: str) -> None:
    async def main() -> None:
        fake: Any = Refusing(reason)
        link = ClientConnection(fake, 1, fake, fake, 60.0)
        link.stage = ConnectionStage.CHALLENGED
        link.received_untrusted(wrap(encode_control("open", b"o" * 200, b"s" * 70)))
        (said,) = StreamReader(1 << 16).feed_untrusted(fake.written)
        assert parse_control_untrusted(said, "server") == ("goodbye", (word,)) and fake.ended == reason
        link._timer.cancel()

    asyncio.run(main())


@pytest.mark.parametrize(("reason", "word"), [("busy", "busy"), ("bad_fields", "rejected")])
def test_a_client_of_a_locked_host_is_rejected_only_for_what_is_its_own_fault(reason: str, word: str) -> None:
    async def main() -> None:
        fake: Any = Refusing(reason)
        link = LockedConnection(fake, 1, fake, (bytes(16), bytes(16), bytes(16)), lambda flush: flush())
        link.received_untrusted(wrap(encode_control("ask_unlock")))
        *_, said = StreamReader(1 << 16).feed_untrusted(fake.written)
        assert parse_control_untrusted(said, "server") == ("refused", (word,)) and fake.ended == reason
        link._timer.cancel()

    asyncio.run(main())
