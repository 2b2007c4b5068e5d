"""What one read can cost: however a peer cuts its bytes, one turn of the event loop is short."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgpack
import pytest

from tlsrt.channels.links.link import TURN_BUDGET, Link, _Connection
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.links.zmtp import CRUMBS_MAX, GREETING, READY, ZmtpReader, message_head
from tlsrt.errors import PeerError
from tlsrt.loops.door.client_connection import REFUSED_MAX, ClientConnection, ConnectionStage
from tlsrt.loops.door.door import OFFENCES_MAX, OFFENCES_PER_S, offence_buckets


def test_frames_of_batches_are_counted_not_their_messages() -> None:
    """65 536 frames fit one read, as batches of empty ones: they are handed on in pieces, in order, all of them."""
    batch = msgpack.packb([1] + [b""] * 255 + [b"end"])
    refused = b"\x01" * 40
    data = (message_head(len(batch)) + batch) * 9 + (message_head(len(refused)) + refused) * 300

    async def main() -> None:
        got: list[bytes] = []
        reasons: list[str] = []
        link = Link(WriteBatch(), got.append, reasons.append)
        ours, theirs = socket.socketpair()
        connection = _Connection(ours)
        link._connections.append(connection)
        connection.reader.feed_untrusted(GREETING + READY)
        link._received(connection, memoryview(data))
        turns = 1
        while connection.frames is not None:
            assert len(got) + len(reasons) <= turns * TURN_BUDGET
            before = len(got) + len(reasons)
            while before == len(got) + len(reasons) and connection.frames is not None:
                await asyncio.sleep(0)
            turns += 1
        assert got == ([b""] * 255 + [b"end"]) * 9
        assert len(reasons) == 300
        link.close()
        theirs.close()

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize(
    "crumb", [b"\x04\0", b"\x01\0", b"\0\0", b"\x01\0\0\0", b"\0\x1f" + bytes(31)],
    ids=["commands", "parts", "empty", "multiparts", "short"],
)  # fmt: skip
def test_crumbs_in_one_read_end_the_connection(crumb: bytes) -> None:
    reader = ZmtpReader(1000)
    reader.feed_untrusted(GREETING + READY)
    reader.feed_untrusted(crumb * (CRUMBS_MAX // 2))
    reader.feed_untrusted(crumb * (CRUMBS_MAX // 2))
    with pytest.raises(PeerError, match="zmtp_crumbs"):
        reader.feed_untrusted(crumb * (CRUMBS_MAX + 1))


class _Connected:
    """A connection of a client, as its link sees it, and the hub behind."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.offences = offence_buckets()
        self.ended = ""
        self.frames = 0

    def fail(self, reason: str) -> None:
        self.ended = reason

    def write(self, data: bytes) -> None:
        assert data

    def frame(self, connection: int, frame: bytes) -> str:
        self.frames += 1
        return self.word

    def is_offence_too_many(self, connection: int) -> bool:
        return self.offences.owe("client/a", 1.0) > 0


@pytest.mark.parametrize(
    ("word", "most"), [("rejected", int(OFFENCES_MAX)), ("busy", REFUSED_MAX), ("stale", REFUSED_MAX), ("", 7281)]
)
def test_a_client_whose_frames_of_one_read_are_refused_is_dismissed(word: str, most: int) -> None:
    payload = b"\x94\xc4\0\xc4\0"
    one = len(payload).to_bytes(4, "big") + payload

    async def main() -> None:
        fake: Any = _Connected(word)
        link = ClientConnection(fake, 1, fake, fake, 60.0)
        link.stage = ConnectionStage.GRANTED
        if word != "rejected":
            for _ in range(3):
                link.received_untrusted(one * min(most, 30))
        assert not fake.ended
        fake.frames = 0
        link.received_untrusted(one * 7281)
        assert fake.ended == ("too_many_refused" if word else "")
        assert fake.frames == (most + 1 if word else most)
        link._timer.cancel()

    asyncio.run(main())


def test_offences_are_charged_to_a_client_with_all_of_its_connections_and_forgiven_slowly() -> None:
    offences = offence_buckets()
    assert not any(offences.owe("client/a", 5.0) for _ in range(int(OFFENCES_MAX)))
    assert offences.owe("client/a", 5.0)
    assert not offences.owe("client/b", 5.0)
    assert not offences.owe("client/a", 5.0 + 2 / OFFENCES_PER_S)
    assert offences.owe("client/a", 5.0 + 2 / OFFENCES_PER_S)
    for _ in range(10_000):
        offences.owe("client/a", 6.0)
    assert not offences.owe("client/a", 6.0 + 2 * OFFENCES_MAX / OFFENCES_PER_S), "a long flood is no life sentence"
