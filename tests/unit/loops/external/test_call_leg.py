"""What a component hears and says in a call: pieces, bounded buffers, and a component that is rung."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt import Busy, Component, InvalidArgument, handler
from tlsrt.loops.external import call_leg
from tlsrt.loops.external.call_leg import (
    ANSWER,
    DIGIT,
    HEARD_PIECES,
    PIECE_S,
    SAID_PIECES,
    SILENCE,
    SOUND,
    TEXT,
    HeardPieces,
    Pace,
    Piece,
    SaidSound,
    piece_untrusted,
    ring_component,
)
from tlsrt.testing import running

RUNG = {"id": "1", "by": "client/anna", "says": "", "number": "door"}


ANY_KIND = st.builds(lambda kind, more: bytes([kind]) + more, st.integers(0, 7), st.binary())


@given(st.one_of(st.binary(max_size=5000), ANY_KIND))
def test_any_bytes_are_a_piece_or_the_one_error(data: bytes) -> None:
    try:
        piece = piece_untrusted(data)
    except InvalidArgument:
        return
    if piece is None:
        assert data[0] not in range(1, 7)
    elif piece.kind == SOUND:
        assert len(piece.content) == len(SILENCE) and piece.content.startswith(data[1:])
    else:
        assert piece.encoded() == data


NO_PIECES = [b"", "a", b"\x01\0", b"\x01" + bytes(1922), b"\x02\xff", b"\x03", b"\x03x", b"\x04\0"]


@pytest.mark.parametrize("data", NO_PIECES)
def test_what_is_no_piece_is_refused(data: object) -> None:
    with pytest.raises(InvalidArgument, match="of a call"):
        piece_untrusted(data)


def test_what_is_said_comes_back_as_it_was() -> None:
    assert piece_untrusted(call_leg.text("grüße")) == Piece(TEXT, "grüße".encode())
    assert piece_untrusted(call_leg.digit("#")) == Piece(DIGIT, b"#")
    for words in ("x" * 4097, "ü" * 2049):
        with pytest.raises(InvalidArgument, match="4096 bytes"):
            call_leg.text(words)
    with pytest.raises(InvalidArgument, match="no key"):
        call_leg.digit("12")


def test_who_is_late_loses_the_oldest_sound_and_no_text() -> None:
    async def run() -> None:
        heard = HeardPieces()
        listening = aiter(heard)
        heard.put(call_leg.text("kept"))
        for number in range(HEARD_PIECES + 3):
            heard.put(call_leg.sound(bytes([number, 0])))
        got = [await anext(listening) for _ in range(HEARD_PIECES)]
        assert got[0] == call_leg.text("kept") and got[-1][1] == HEARD_PIECES + 2
        assert heard.lost == 4
        heard.close()
        assert [piece async for piece in listening] == []
        heard.put(ANSWER)
        assert [piece async for piece in heard] == []

    asyncio.run(run())


def test_who_says_more_than_is_sent_waits_and_a_microphone_loses() -> None:
    async def run() -> None:
        said = SaidSound()
        for _ in range(SAID_PIECES):
            await said.put(b"a")
        waiting = asyncio.ensure_future(said.put(b"b"))
        await asyncio.sleep(0)
        assert not waiting.done()
        said.take()
        await waiting
        said.put_live(b"c")
        assert said.lost == 1
        assert [said.take() for _ in range(SAID_PIECES + 1)] == [b"a"] * (SAID_PIECES - 2) + [b"b", b"c", SILENCE]

    asyncio.run(run())


def test_who_keeps_pace_says_20_ms_each_20_ms() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        pace = Pace()
        begun_s = loop.time()
        for _ in range(6):
            await pace.wait()
        assert loop.time() - begun_s >= 5 * PIECE_S - 0.002  # the first one is due at once

    asyncio.run(run())


class Parrot(Component):
    """Says what it hears."""

    @handler
    async def take_call(
        self, id: str, by: str, says: str, number: str, heard: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Answer, unless it is engaged or declines."""
        if number == "engaged":
            raise Busy("another call")
        if number == "declined":
            return
        yield ANSWER
        async for piece in heard:
            yield piece


class Ringer(Component):
    """Rings the parrot."""

    @handler
    async def ring(self, number: str) -> list[bytes]:
        """Say two things, and hear them."""
        heard = HeardPieces()
        said: list[bytes] = []
        async with aclosing(ring_component(self, "third/parrot", heard, **{**RUNG, "number": number})) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                said.append(piece.encoded())
                heard.put(call_leg.digit("1")) if len(said) == 1 else heard.close()
        return said


def test_a_component_is_rung_and_answers() -> None:
    async def run() -> None:
        async with running(Ringer, peers={"third/parrot": Parrot()}) as ringer:
            assert await ringer.call("ring", "door") == [ANSWER, call_leg.digit("1")]
            assert await ringer.call("ring", "declined") == []
            with pytest.raises(Busy, match="another call"):
                await ringer.call("ring", "engaged")

    asyncio.run(run())
