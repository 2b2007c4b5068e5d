"""The relay: bounded pages, a bounded pace, nothing while nobody is there, and nothing lost that the ring still has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.trust import TRUST
from tlsrt.supervisor.events.bus import EventBus
from tlsrt.supervisor.events.relay import EVERY_S, TOLD_AGAIN, EventRelay
from tlsrt.supervisor.process.event_loop import EventLoop


class Host:
    """A relay, a clock, and an authority that takes pages while it likes."""

    def __init__(self) -> None:
        self.now = 10.0
        self.event_loop = EventLoop(lambda: self.now)
        self.bus = EventBus()
        self.takes = True
        self.pages: list[list[bytes]] = []
        self.relay = EventRelay(self.event_loop, self.bus, self.send)

    def send(self, lines: Sequence[bytes]) -> bool:
        if self.takes:
            self.pages.append(list(lines))
        return self.takes

    def happens(self, count: int, words: str = "") -> None:
        for _ in range(count):
            self.bus.emit("violation", "third", words, text=words)

    def later(self, rounds: int = 1) -> list[int]:
        """Let time pass, and return the numbers that were told meanwhile."""
        before = len(self.pages)
        for _ in range(rounds):
            self.now += EVERY_S
            self.event_loop.call_later(0, lambda: None)
            self.event_loop.run_once()
        return [json.loads(line)["seq"] for page in self.pages[before:] for line in page]


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.event_loop.close()


def test_nothing_is_told_before_primary_has_joined_and_then_the_last_ones(host: Host) -> None:
    host.happens(TOLD_AGAIN + 50)
    host.relay.joined("third")
    assert host.later(10) == []
    assert not host.event_loop._timers
    host.relay.joined("primary")
    assert host.later(10) == list(range(51, TOLD_AGAIN + 51))


def test_it_goes_on_behind_an_authority_that_was_away(host: Host) -> None:
    host.relay.joined("primary")
    host.happens(3)
    assert host.later() == [1, 2, 3]
    host.relay.lost()
    host.happens(2)
    assert host.later(3) == []
    host.relay.joined("primary")
    assert host.later(3) == [1, 2, 3, 4, 5]


def test_a_new_primary_hears_nothing_before_the_last_events_and_those_in_order(host: Host) -> None:
    """It has its keys a moment before we hear of that, and takes the first number for the begin of what there is."""
    host.relay.joined("primary")
    host.happens(3)
    assert host.later() == [1, 2, 3]
    host.bus.emit("spawned", "primary")
    host.happens(2)
    assert host.later(3) == []
    host.relay.joined("primary")
    assert host.later(3) == [1, 2, 3, 4, 5, 6]
    host.bus.emit("spawned", "third")
    assert host.later(3) == [7], "nobody else's birth changes anything"


def test_an_authority_that_has_no_room_is_told_later(host: Host) -> None:
    host.relay.joined("primary")
    host.takes = False
    host.happens(5)
    assert host.later(4) == []
    host.takes = True
    assert host.later(2) == [1, 2, 3, 4, 5]


def test_a_flood_is_one_page_at_a_time_and_each_fits_into_a_packet(host: Host) -> None:
    host.relay.joined("primary")
    told: list[int] = []
    for _ in range(20):
        host.happens(500, "\U0001f642" * 600)
        told += host.later()
    assert len(host.pages) <= 20
    for page in host.pages:
        assert len(AUTHORITY_CHANNEL.encode("events", page)) <= AUTHORITY_CHANNEL.cap
        assert len(TRUST.encode("events", page)) <= TRUST.cap
    assert told == sorted(set(told))
    assert host.later(500)[-1] == 10_000
    host.happens(1)
    assert host.later(2) == [10_001]
