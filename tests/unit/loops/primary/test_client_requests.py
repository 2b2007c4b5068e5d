"""What clients ask while the authority is slow to read: nothing is lost, in order, and no client is blamed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from unittest.mock import Mock

import pytest
from fakes.trust_ends import Heard, channels, hear

from tlsrt.channels.control.trust import EventsMessage
from tlsrt.errors import PeerError
from tlsrt.loops.primary.client_requests import WAITING_MAX, ClientRequests
from tlsrt.loops.primary.loop import PrimaryLoop


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


def test_what_waits_leaves_half_of_the_channel_to_what_primary_itself_says() -> None:
    async def scene() -> None:
        ours, theirs = channels()
        requests, asked = ClientRequests(ours), 1000
        for number in range(asked):
            requests.ask("challenge", number)
        heard = len(hear(theirs))
        while heard < asked:
            for _ in range(4):
                await asyncio.sleep(0)  # as often as it can be writable before the other end reads
            ours.send("prepared", 1)
            found = hear(theirs)
            assert ("prepared", 1) in found
            heard += len(found) - 1
        assert heard == asked
        ours.close()
        theirs.close()

    asyncio.run(scene())


def test_events_go_on_when_the_authority_reads_again() -> None:
    async def scene() -> None:
        ours, theirs = channels()
        primary = Mock(_requests=ClientRequests(ours), _process=Mock(hosts={}, trust=ours))
        with suppress(PeerError):
            for _ in range(100_000):
                ours.send("join")
        PrimaryLoop._publish(primary, EventsMessage([]))
        heard = hear(theirs)
        await asyncio.sleep(0.01)
        heard += hear(theirs)
        assert heard[-1] == ("took_events", b""), "until then the authority sends no more of them"
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
