"""What a component hears and says in a call: pieces of sound, text and digits, by streams of its own methods.

A component that can be rung has the method

    @handler
    async def take_call(
        self, id: str, by: str, says: str, number: str, heard: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]: ...

`id` is the call, `by` who rings, which the gate vouches for (client/anna, external/sip), `says` what that one says of
itself, which is not checked, and `number` what was rung. What it iterates is what it hears, and what it yields is
what it says; the first piece that it yields answers the call (`ANSWER`, if it has nothing to say yet). It declines by
returning before that, is engaged by raising Busy, and hangs up by returning. When the other side hangs up, `heard`
ends. Who rings has the same two streams, of the method `dial` of external/calls: its first item is the answer.

A piece is one byte that says its kind, and the content: sound is 16 bit little-endian, one channel, 48 kHz, 20 ms.
Pieces of a kind that is not known are left out. All buffers are bounded: what is live is lost, the oldest first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

from tlsrt import Component, InvalidArgument

RATE, SAMPLES, PIECE_S = 48_000, 960, 0.02
PIECE_BYTES = 2 * SAMPLES
SILENCE = bytes(PIECE_BYTES)
SOUND, TEXT, DIGIT, ANSWERED, HELD, RESUMED = range(1, 7)  # the last two are told to a component, by external/calls
TEXT_BYTES = 4096
DIGITS = "0123456789*#ABCD"
HEARD_PIECES = 25  # half a second, which a component may be late
SAID_PIECES = 10  # 200 ms of what it says and is not sent yet
ANSWER = bytes([ANSWERED])
_CONTENT_MAX = {SOUND: PIECE_BYTES, TEXT: TEXT_BYTES, DIGIT: 1, ANSWERED: 0, HELD: 0, RESUMED: 0}


class Piece(NamedTuple):
    """One piece; the content of a text is UTF-8, of a digit one character."""

    kind: int
    content: bytes = b""

    def encoded(self) -> bytes:
        """Return it as it travels."""
        return bytes([self.kind]) + self.content


def sound(pcm: bytes) -> bytes:
    """Return the piece of at most 20 ms of sound."""
    return Piece(SOUND, pcm).encoded()


def text(words: str) -> bytes:
    """Return the piece of a text. Raises InvalidArgument for one that is too long."""
    content = words.encode()
    if len(content) > TEXT_BYTES:
        raise InvalidArgument(f"a text of a call has at most {TEXT_BYTES} bytes, not {len(content)}")
    return Piece(TEXT, content).encoded()


def digit(character: str) -> bytes:
    """Return the piece of a key that is pressed. Raises InvalidArgument for what is no key."""
    if len(character) != 1 or character not in DIGITS:
        raise InvalidArgument(f"{character[:8]!r} is no key of a telephone: {DIGITS}")
    return Piece(DIGIT, character.encode()).encoded()


def piece_untrusted(data: object) -> Piece | None:
    """Return what another component sends, None for a kind that is not known. Raises InvalidArgument."""
    if not isinstance(data, bytes) or not data:
        raise InvalidArgument("a piece of a call is bytes, and at least the one that says its kind")
    most = _CONTENT_MAX.get(data[0])
    if most is None:
        return None
    piece = Piece(data[0], data[1:])
    if len(piece.content) > most or (piece.kind == SOUND and len(piece.content) % 2):
        raise InvalidArgument(
            f"a piece of a call of kind {piece.kind} has at most {most} bytes, and sound an even number"
        )
    if piece.kind == DIGIT and (len(piece.content) != 1 or piece.content not in DIGITS.encode()):
        raise InvalidArgument(f"a digit of a call is one of {DIGITS}")
    if piece.kind == TEXT:
        try:
            piece.content.decode()
        except UnicodeDecodeError:
            raise InvalidArgument("a text of a call is UTF-8") from None
    elif piece.kind == SOUND and len(piece.content) < PIECE_BYTES:
        return Piece(SOUND, piece.content + SILENCE[len(piece.content) :])
    return piece


class HeardPieces:
    """What a component is to hear, as the stream that is sent to it. asyncio."""

    def __init__(self) -> None:
        self.lost = 0  # pieces that it was too slow for
        self._waiting: deque[bytes] = deque()
        self._has_more = asyncio.Event()
        self._is_over = False

    def put(self, piece: bytes) -> None:
        """Let it hear a piece. Where it is late, the oldest sound is lost."""
        if self._is_over:
            return
        if len(self._waiting) >= HEARD_PIECES:
            oldest = next((at for at, one in enumerate(self._waiting) if one[0] == SOUND), 0)
            del self._waiting[oldest]
            self.lost += 1
        self._waiting.append(piece)
        self._has_more.set()

    def close(self) -> None:
        """End the stream: the other side has hung up."""
        self._is_over = True
        self._waiting.clear()
        self._has_more.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._is_over:
                return
            self._has_more.clear()
            await self._has_more.wait()


class SaidSound:
    """What is to be sent next of what one side says, 20 ms at a time. asyncio.

    A component may say more than is sent: it waits then. A microphone does not wait: the oldest is lost.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._waiting: deque[bytes] = deque()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def put(self, pcm: bytes) -> None:
        """Keep 20 ms, as soon as there is room."""
        while len(self._waiting) >= SAID_PIECES:
            self._has_room.clear()
            await self._has_room.wait()
        self._waiting.append(pcm)

    def put_live(self, pcm: bytes) -> None:
        """Keep 20 ms that were heard now."""
        if len(self._waiting) >= SAID_PIECES:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(pcm)

    def take(self) -> bytes:
        """Return the next 20 ms, silence if there is nothing."""
        if not self._waiting:
            return SILENCE
        pcm = self._waiting.popleft()
        self._has_room.set()
        return pcm

    def clear(self) -> None:
        """Forget what was not sent."""
        self._waiting.clear()
        self._has_room.set()


class Pace:
    """The clock of who says something by itself: 20 ms from piece to piece. asyncio.

    A component that does not wait for it is ahead by all that its stream takes, and says that to the end.
    """

    def __init__(self) -> None:
        self._due_s = 0.0

    async def wait(self) -> None:
        """Return when the next piece is due; after a pause of more than a second it begins anew."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._due_s > 1.0:
            self._due_s = now_s
        await asyncio.sleep(max(0.0, self._due_s - now_s))
        self._due_s += PIECE_S


async def pieces_of(items: AsyncIterable[Any]) -> AsyncIterator[Piece]:
    """Yield what a stream of `take_call` or `dial` says. Raises InvalidArgument, and what the stream raises."""
    async for item in items:
        if (piece := piece_untrusted(item)) is not None:
            yield piece


async def ring_component(
    component: Component, target: str, heard: HeardPieces, *, id: str, by: str, says: str, number: str
) -> AsyncIterator[Piece]:
    """Ring a component, and yield what it says: the first piece is its answer. Close it (`aclose`) to hang up.

    Raises Busy for one that is engaged, and what else a call raises. It ends where the component hangs up or declines.
    """
    async with aclosing(component.exchange(target, "take_call", heard, id, by, says, number)) as items:  # type: ignore[type-var]
        async for piece in pieces_of(items):
            yield piece


async def dial(component: Component, calls: str, number: str, heard: HeardPieces, *, says: str) -> AsyncIterator[Piece]:
    """Ring a number of `external/calls`, and yield what the one who answers says, as `ring_component` does."""
    async with aclosing(component.exchange(calls, "dial", heard, number, says)) as items:  # type: ignore[type-var]
        async for piece in pieces_of(items):
            yield piece
