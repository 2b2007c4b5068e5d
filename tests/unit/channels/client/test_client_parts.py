"""Small pure parts of the client: the host's clock, and the opening that answers once."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from tlsrt.channels.calls.chunks import PART_BYTES, parts_of
from tlsrt.channels.cli.standard_input import standard_input
from tlsrt.channels.client.connection import EndedEarly, ServerConnection
from tlsrt.channels.client.host_clock import HostClock
from tlsrt.channels.client.session import ClientSession
from tlsrt.channels.session import grant
from tlsrt.channels.session.opening import Opening, identity_of
from tlsrt.config.bundle import Bundle
from tlsrt.errors import Busy, ConfigError, InvalidArgument, PeerError, Rejected, ServerLocked, TlsrtError, Unavailable

INSTALL, BOOT = b"i" * 16, b"b" * 16


def test_the_hosts_clock_takes_the_latest_estimate() -> None:
    ours = 1_000
    clock = HostClock(lambda: ours)
    clock.learn(5_000, first=True)
    assert clock.now() == 5_000
    ours += 100
    clock.learn(5_050, first=False)  # this grant took 50 ms to arrive: the first one knew better
    assert clock.now() == 5_100
    clock.learn(5_180, first=False)
    assert clock.now() == 5_180
    assert not clock.jumped(5_150) and not clock.jumped(60_000)
    assert clock.jumped(90_000) and clock.jumped(-60_000)
    clock.learn(20, first=True)
    assert clock.now() == 20


def test_an_opening_answers_one_challenge_of_its_install(bundle: Bundle) -> None:
    opening = Opening(identity_of(bundle))
    with pytest.raises(PeerError, match="grant_before_open"):
        opening.accept_untrusted(1, b"x" * 100, b"s" * 64)
    with pytest.raises(PeerError, match="other_install"):
        opening.answer_untrusted(b"x" * 16, BOOT, b"c" * 32)
    data, signature = opening.answer_untrusted(INSTALL, BOOT, b"c" * 32)
    wish = grant.parse_open_untrusted(data)
    grant.verify_open(wish, data, signature)
    assert (wish.install, wish.boot, wish.challenge) == (INSTALL, BOOT, b"c" * 32)
    with pytest.raises(PeerError, match="second_challenge"):
        opening.answer_untrusted(INSTALL, BOOT, b"d" * 32)
    with pytest.raises(PeerError, match="grant_signature"):
        opening.accept_untrusted(1, b"x" * 100, b"s" * 64)


def test_every_opening_has_its_own_key(bundle: Bundle) -> None:
    keys = set()
    for _ in range(3):
        data, _ = Opening(identity_of(bundle)).answer_untrusted(INSTALL, BOOT, b"c" * 32)
        keys.add(grant.parse_open_untrusted(data).ephemeral_public)
    assert len(keys) == 3


@pytest.mark.parametrize("change", [{"certificate_pem": b"nothing"}, {"key_pem": b"nothing"}])
def test_a_damaged_bundle_is_a_sentence(bundle: Bundle, change: dict[str, Any]) -> None:
    import dataclasses

    with pytest.raises(ConfigError, match="damaged"):
        identity_of(dataclasses.replace(bundle, **change))


async def collect(data: object) -> list[bytes]:
    return [part async for part in parts_of(data)]


def test_uploads_are_cut_into_parts() -> None:
    async def several() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    large = bytes(range(256)) * 600
    for data in (large, memoryview(large), io.BytesIO(large), [large[:100_000], large[100_000:]]):
        parts = asyncio.run(collect(data))
        assert b"".join(parts) == large and max(map(len, parts)) <= PART_BYTES
    assert asyncio.run(collect(several())) == [b"one", b"two"]
    assert asyncio.run(collect(b"")) == []
    for wrong in ("text", 7, ["text"], [7]):
        with pytest.raises(InvalidArgument):
            asyncio.run(collect(wrong))


@pytest.mark.parametrize("kind", ["iterable", "file", "standard input"])
def test_a_source_that_waits_for_ever_keeps_no_event_loop(kind: str) -> None:
    """An executor's thread would: asyncio.run waits for it, and so does the interpreter at its exit."""
    reading, writing = os.pipe()
    os.write(writing, b"one")
    got: list[bytes] = []

    async def take_one(parts: AsyncIterator[bytes]) -> None:
        got.append(await anext(parts))
        with suppress(TimeoutError):
            await asyncio.wait_for(anext(parts), 0.05)

    def client() -> None:
        if kind == "standard input":
            parts = standard_input(reading)
        elif kind == "file":
            parts = parts_of(open(reading, "rb", closefd=False))  # noqa: SIM115
        else:
            parts = parts_of(iter(lambda: os.read(reading, 100), b""))
        asyncio.run(take_one(parts))

    thread = threading.Thread(target=client, daemon=True)
    thread.start()
    try:
        thread.join(10)
        assert not thread.is_alive() and got == [b"one"]
        readers = [thread for thread in threading.enumerate() if thread.name in ("upload", "standard input")]
        assert all(reader.daemon for reader in readers)
    finally:
        os.close(writing)  # which ends the reader
        thread.join(10)
    for reader in readers:
        reader.join(10)
        assert not reader.is_alive()
    os.close(reading)


def test_a_thread_reads_no_more_than_one_ahead_and_gives_errors_to_who_asks() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[bytes]:
        for number in range(5):
            taken.append(number)
            yield b"%d" % number
        raise OSError("the source is broken")

    async def scene() -> None:
        parts = parts_of(numbers())
        assert await anext(parts) == b"0"
        await asyncio.sleep(0.05)
        assert len(taken) <= 3
        assert [await anext(parts) for _ in range(4)] == [b"1", b"2", b"3", b"4"]
        with pytest.raises(OSError, match="broken"):
            await anext(parts)
        parts = parts_of(numbers())
        await anext(parts)
        await parts.aclose()  # type: ignore[attr-defined]

    asyncio.run(scene())


class Door(ClientSession):
    """A client of a server that answers each attempt with the next error."""

    def __init__(self, bundle: Bundle, answers: Sequence[TlsrtError], wait_locked: float) -> None:
        super().__init__(bundle, wait_locked=wait_locked)
        self.answers = list(answers)

    async def _dial(self) -> ServerConnection:
        raise self.answers.pop(0)


@pytest.mark.parametrize(
    ("answers", "wait_locked", "left"),
    [
        ((ServerLocked("locked"), Unavailable("cut"), Unavailable("cut"), Rejected("the end")), 60, 0),
        ((Unavailable("cut"), Rejected("the end")), 60, 1),  # it has not heard of a lock: nobody is there
        ((ServerLocked("locked"), Rejected("the end")), 0, 1),
        ((ServerLocked("locked"), Rejected("no"), Unavailable("cut")), 60, 1),  # it is not locked any more
        ((*(EndedEarly("cut") for _ in range(5)), Rejected("the end")), 0, 0),  # a flood takes the places, for a moment
        ((*(EndedEarly("cut") for _ in range(6)), Rejected("the end")), 0, 1),
    ],
)
def test_who_waits_for_the_unlock_or_is_cut_by_a_flood_comes_again(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, answers: Sequence[TlsrtError], wait_locked: float, left: int
) -> None:
    monkeypatch.setattr("tlsrt.channels.client.session.PAUSE_REFUSED_S", 0.0)
    monkeypatch.setattr("tlsrt.channels.client.session.PAUSE_FIRST_S", 0.001)

    async def connect() -> None:
        client = Door(bundle, answers, wait_locked)
        with pytest.raises(TlsrtError) as ended:
            await client.connect()
        assert ended.value is answers[len(answers) - left - 1] and len(client.answers) == left

    asyncio.run(connect())


@pytest.mark.parametrize(("wait_s", "left"), [(30.0, 0), (0.0, 2)])
def test_a_server_without_room_is_asked_again_for_a_while(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, wait_s: float, left: int
) -> None:
    monkeypatch.setattr("tlsrt.channels.client.session.PAUSE_REFUSED_S", 0.0)
    monkeypatch.setattr("tlsrt.channels.client.session.PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr("tlsrt.channels.client.session.BUSY_WAIT_S", wait_s)
    answers = (Busy("no room"), Busy("no room"), Rejected("the end"))

    async def connect() -> None:
        client = Door(bundle, answers, 0)
        with pytest.raises(Rejected if wait_s else Busy):
            await client.connect()
        assert len(client.answers) == left

    asyncio.run(connect())
