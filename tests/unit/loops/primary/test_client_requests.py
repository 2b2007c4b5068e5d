"""What clients ask while the authority is slow to read: nothing is lost, in order, and no client is blamed."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest

from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.channels.control.trust import TRUST
from tlsrt.errors import PeerError
from tlsrt.loops.primary.client_requests import WAITING_MAX, ClientRequests

Heard = list[tuple[str, int | bytes]]


def channels() -> tuple[ControlChannel, ControlChannel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ControlChannel(ours.detach(), TRUST), ControlChannel(theirs.detach(), TRUST)


def hear(channel: ControlChannel) -> Heard:
    heard: Heard = []
    while (message := channel.receive("primary", "joined")) is not None:
        heard.append((message[0], message[1][0]))
    return heard


def test_what_an_authority_does_not_read_yet_waits_in_order() -> None:
    async def scene() -> None:
        ours, theirs = channels()
        requests = ClientRequests(ours)
        said: Heard = []
        for number in range(2000):
            requests.ask("challenge", number)
            said.append(("challenge", number))
            if number % 3 == 0:
                session = number.to_bytes(16, "big")
                requests.tell("close", session)
                said.append(("close", session))
        heard = hear(theirs)
        assert 0 < len(heard) < len(said), "the rest had no room"
        while len(heard) < len(said):
            await asyncio.sleep(0)
            heard += hear(theirs)
        assert heard == said
        requests.ask("challenge", 7)
        assert hear(theirs) == [("challenge", 7)], "at once again"
        ours.close()
        theirs.close()

    asyncio.run(scene())


def test_too_many_questions_are_busy_and_the_end_of_a_session_is_always_told() -> None:
    async def scene() -> None:
        ours, theirs = channels()
        requests, asked = ClientRequests(ours), 0
        with suppress(PeerError):
            while asked < 2 * WAITING_MAX:
                requests.ask("challenge", asked)
                asked += 1
        assert WAITING_MAX < asked < 2 * WAITING_MAX
        requests.tell("close", bytes(16))
        heard: Heard = []
        while ("close", bytes(16)) not in heard:
            heard += hear(theirs)
            await asyncio.sleep(0)
        assert len(heard) == asked + 1, heard[-3:]
        theirs.close()
        with pytest.raises(PeerError, match="busy"):
            requests.ask("challenge", 1)
        requests.tell("close", bytes(16))
        ours.close()

    asyncio.run(scene())
