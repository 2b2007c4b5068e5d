"""Who takes part in a call: a person by a leg of WebRTC, a component or another host by two streams. asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol

from tlsrt import InvalidArgument
from tlsrt.loops.external.call_leg import (
    ANSWERED,
    HELD,
    PIECE_S,
    RESUMED,
    SILENCE,
    SOUND,
    TEXT,
    HeardPieces,
    Piece,
    SaidSound,
)
from tlsrt.loops.external.call_rates import Pieces

if TYPE_CHECKING:  # it needs the extra
    from tlsrt.loops.external.call_pictures import SeenPictures

TOLD_MAX = 64
HOST_PER_S, HOST_BURST = 75.0, 300.0  # pieces of another host: sound is 50, and a connection that stood still has more
_PIECES = {"answered": ANSWERED, "held": HELD, "resumed": RESUMED}


class Leg(Protocol):
    """The media of a person."""

    said: SaidSound
    seen: SeenPictures | None
    is_connected: bool

    async def open(
        self, offer: str, heard: Callable[[Piece], None], changed: Callable[[str], None], *, has_camera: bool = False
    ) -> str: ...
    async def figures(self) -> dict[str, Any]: ...
    def tell(self, words: str) -> None: ...
    async def close(self) -> None: ...


class Party(Protocol):
    """One side of a call."""

    address: str

    def hear_live(self, piece: Piece) -> None:
        """Let it hear a piece now; where there is no room, the oldest is lost."""
        ...

    async def hear(self, piece: Piece) -> None:
        """Let it hear a piece as soon as there is room."""
        ...

    def tell(self, state: str, **more: Any) -> None:
        """Tell it what has become of the call."""
        ...

    def end(self, why: str) -> None:
        """Tell it that the call is over, and hear it no more."""
        ...

    async def figures(self) -> dict[str, Any]:
        """Return what got lost on the way to it and from it, as far as this side knows."""
        ...


class Told:
    """What one person is told of a call, or of calls: a stream that ends."""

    def __init__(self) -> None:
        self._waiting: deque[dict[str, Any]] = deque(maxlen=TOLD_MAX)
        self._has_more = asyncio.Event()
        self._is_over = False

    def put(self, told: dict[str, Any]) -> None:
        if not self._is_over:
            self._waiting.append(told)
            self._has_more.set()

    def close(self) -> None:
        self._is_over = True
        self._has_more.set()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._is_over:
                return
            self._has_more.clear()
            await self._has_more.wait()


class PersonParty:
    """A person: what it says comes by the leg, what becomes of the call goes to the stream of its method."""

    def __init__(self, address: str, leg: Leg) -> None:
        self.address, self.leg = address, leg
        self.told = Told()

    def hear_live(self, piece: Piece) -> None:
        if piece.kind == SOUND:
            self.leg.said.put_live(piece.content)
        elif piece.kind == TEXT:
            self.leg.tell(piece.content.decode())

    async def hear(self, piece: Piece) -> None:
        if piece.kind == SOUND:
            await self.leg.said.put(piece.content)
        else:
            self.hear_live(piece)

    def tell(self, state: str, **more: Any) -> None:
        self.told.put({"state": state, **more})

    def end(self, why: str) -> None:
        self.leg.said.clear()
        if self.leg.seen is not None:
            self.leg.seen.clear()
        self.told.put({"state": "ended", "why": why})
        self.told.close()

    async def figures(self) -> dict[str, Any]:
        found = await self.leg.figures()
        if self.leg.seen is not None:
            found.setdefault("pictures", {})["left_out"] = self.leg.seen.lost
        return {**found, "pieces_lost": self.leg.said.lost}


class ComponentParty:
    """A component. What it hears is sent to it at the pace of the clock, as another component may say more at once."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard = HeardPieces()
        self.why = ""  # the call is over
        self._said = SaidSound()

    def hear_live(self, piece: Piece) -> None:
        self.heard.put(piece.encoded())

    async def hear(self, piece: Piece) -> None:
        if piece.kind == SOUND:
            await self._said.put(piece.content)
        else:
            self.hear_live(piece)

    async def pump(self) -> None:
        """Send what another component says, every 20 ms; to be run as long as the call."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while not self.why:
            if (pcm := self._said.take()) is not SILENCE:
                self.heard.put(Piece(SOUND, pcm).encoded())
            due_s = max(due_s + PIECE_S, loop.time() - 1.0)
            await asyncio.sleep(due_s - loop.time())

    def tell(self, state: str, **more: Any) -> None:
        """Let it hear of it, as a piece; what has none a component is not told."""
        if state in _PIECES:
            self.heard.put(bytes([_PIECES[state]]))

    def end(self, why: str) -> None:
        self.why = self.why or why
        self._said.clear()
        self.heard.close()

    async def figures(self) -> dict[str, Any]:
        return {"pieces_lost": self.heard.lost}


class HostParty(ComponentParty):
    """Someone at another host. What is said there is said now, and whether it is held there is told."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._pieces = Pieces(HOST_BURST, HOST_PER_S)

    def tell(self, state: str, **more: Any) -> None:
        """Let that host hear of it; not of what it has said itself."""
        if more.get("by") != self.address:
            super().tell(state, **more)

    def check(self, now_s: float) -> None:
        """Count a piece of that host, at a monotonic time. Raises InvalidArgument for more than a call has."""
        if not self._pieces.take(now_s):
            raise InvalidArgument(f"{self.address} says more than a call has: {HOST_PER_S:g} pieces a second")
