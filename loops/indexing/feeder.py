"""A part of the index of secondary/search that follows what a component holds. asyncio.

Theory of operation. The component that holds the texts feeds them, and answers who asks: so the rights of the place are
asked where they are known, at each question, and no one else has a right to the part (`ADDRESS:PART` is of ADDRESS
alone). What the index holds is compared with what is there, by a mark of each text; a change only says that it is time
to compare. So there is no journal that could be lost or done twice: whatever process was killed at whatever moment,
the next comparison finds what is missing and what is too much. Texts are put one at a time, in place of what is there.

What the index says is an order and a place in a text. The text itself is taken from where it is kept, so the index can
show nothing: a copy that is outdated, or of a process that was captured, does not reach who asks.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from tlsrt import Busy, CallError, Failed, InvalidArgument, NotFound, Unavailable

SEARCH = "secondary/search"
NAME_CHARACTERS = 256
TEXT_BYTES = 1 << 20
MARK_CHARACTERS = 128
QUIET_S = 0.5  # from a change to the comparison, in which others may come
_SHARE = 10  # a pause is ten times as long as the comparison before it, up to 20 s
_LOOK_S = 2.0  # after which a comparison that changes much looks whether it is outdated
_RETRY_S, RETRY_MOST_S = 1.0, 60.0
_PAGE = 500
_FIND_S = 30.0
_WORD = re.compile(r"[a-z0-9_.-]{1,40}(/[a-z0-9_.-]{1,20})?")


class Index(Protocol):
    """What a component gives: calls of others, and its log."""

    @property
    def address(self) -> str: ...
    @property
    def log(self) -> logging.Logger: ...
    def call(self, target: str, method: str, *args: object, timeout_s: float = 30.0) -> Any: ...
    def upload(self, target: str, method: str, data: bytes, *args: object, timeout_s: float = 300.0) -> Any: ...


class Texts(Protocol):
    """The texts that are to be found."""

    async def marks(self) -> Mapping[str, str]:
        """Return a mark of each text by its name: another mark, another text. Raises CallError."""
        ...

    async def text(self, name: str) -> tuple[str, bytes] | None:
        """Return mark and UTF-8 of a text; None for what is no text, or is not there any more. Raises CallError."""
        ...


class Place(NamedTuple):
    """Where a passage is: in which text, from which character on, how long, and how near it is to the question."""

    name: str
    start: int
    length: int
    score: float


def part_of(name: str) -> str:
    """Return what a part of the index is called: the name, or a digest of it where that has other characters."""
    return name if _WORD.fullmatch(name) else f"x-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


class Feeder:
    """Keeps one part up to date while `run` runs, and finds places in it."""

    def __init__(
        self, index: Index, part: str, kind: str, texts: Texts, turn: asyncio.Lock, *,
        clock: Callable[[], float] = time.monotonic, pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self.trouble: str | None = None  # why it cannot be kept up to date now
        self.left_out = 0  # texts that the index does not take
        self._index = index
        self._space = f"{index.address}:{part}"
        self._kind = kind
        self._texts = texts
        self._clock = clock
        self._pause = pause
        self._known: dict[str, str] = {}  # name: mark, as the index has acknowledged it
        self._refused: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._changed.set()
        self._is_known = False
        self._is_working = True
        self._turn = turn

    @property
    def is_empty(self) -> bool:
        """Whether the index holds nothing of it."""
        return self._is_known and not self._known

    @property
    def is_behind(self) -> bool:
        """Whether something has changed that the index may not have yet."""
        return self._is_working or self._changed.is_set()

    def change(self) -> None:
        """Say that something has changed; as often as it does."""
        self._changed.set()

    def forget_refused(self) -> None:
        """Have texts tried again that the index has not taken, with the next change."""
        self._refused.clear()

    # -- feeding

    async def run(self) -> None:
        """Keep the part up to date, for ever."""
        wait_s = _RETRY_S
        while True:
            began = self._clock()
            if await self.once():
                took_s, wait_s = self._clock() - began, _RETRY_S
                await self._changed.wait()
                await self._pause(max(QUIET_S, _SHARE * min(took_s, _LOOK_S)))
            else:
                await self._pause(wait_s)
                wait_s = min(2 * wait_s, RETRY_MOST_S)

    async def once(self) -> bool:
        """Compare, and bring the part up to date; return whether that was done, else `trouble` says why not."""
        began, self._is_working = self._clock(), True
        try:
            if not self._is_known:
                self._known = await self._held()
                self._is_known = True
            self._changed.clear()
            await self._compare(began)
        except CallError as error:
            self._is_known = False
            if self.trouble != error.message:
                self._index.log.warning("index %s: %s", self._space, error.message)
            self.trouble = error.message
            return False
        self._is_working, self.trouble = False, None
        return True

    async def _held(self) -> dict[str, str]:
        """Return names and marks of what the index holds."""
        found: dict[str, str] = {}
        after = ""
        while True:
            page = await self._index.call(SEARCH, "sources", after, _PAGE, self._space)
            for one in page:
                match one:
                    case {"name": str(after), "mark": str(mark)}:
                        found[after] = mark
                    case _:
                        raise Failed(f"{SEARCH} answers with what is no source")
            if len(page) < _PAGE:
                return found

    async def _compare(self, began: float) -> None:
        """Have the index hold what is there, and no more; ends early where that has changed meanwhile."""
        there = await self._texts.marks()
        for name in self._known.keys() - there.keys():
            await self._remove(name)
        self._refused = {name: mark for name, mark in self._refused.items() if there.get(name) == mark}
        for name, mark in there.items():
            if self._known.get(name) != mark and self._refused.get(name) != mark:
                await self._put(name, mark)
                if self._changed.is_set() and self._clock() - began > _LOOK_S:
                    break
        self.left_out = len(self._refused)

    async def _put(self, name: str, mark: str) -> None:
        found = await self._texts.text(name) if len(name) <= NAME_CHARACTERS else None
        if found is None or not found[1].strip():
            await self._refuse(name, mark)
            return
        mark, text = found
        self._known.pop(name, None)  # it is not known what the index has, until it has answered
        try:
            async with self._turn:  # one text at a time of all parts: the others of its calls are for questions
                await self._index.upload(SEARCH, "add_file", text, name, self._kind, self._space, mark)
        except InvalidArgument:
            self._known[name] = ""
            await self._refuse(name, mark)
        else:
            self._known[name] = mark

    async def _refuse(self, name: str, mark: str) -> None:
        self._refused[name] = mark
        if name in self._known:
            await self._remove(name)

    async def _remove(self, name: str) -> None:
        try:
            await self._index.call(SEARCH, "remove", name, self._space)
        except NotFound:
            pass  # it was removed, and the answer was lost
        self._known.pop(name, None)

    # -- finding

    def has(self, name: str, mark: str) -> bool:
        """Tell whether the index has a text as it is now."""
        return self._known.get(name) == mark

    async def find(self, question: str, most: int) -> list[Place]:
        """Return the places that are nearest to a question, the nearest first; the index may be captured."""
        try:
            answer = await self._index.call(SEARCH, "search", question, most, None, self._space, timeout_s=_FIND_S)
        except (Busy, InvalidArgument):
            raise
        except CallError as error:
            raise Unavailable(f"the index cannot be asked: {error.message}") from None
        hits = answer.get("hits") if isinstance(answer, dict) else None
        if not isinstance(hits, list):
            raise Failed(f"{SEARCH} answers with what are no passages")
        places = [_place_untrusted(one) for one in hits[:most]]
        return [one for one in places if one.name in self._known]


def _place_untrusted(hit: Any) -> Place:
    match hit:
        case {"source": str(name), "start": int(start), "text": str(text), "score": float() | int() as score}:
            if start >= 0:
                return Place(name, start, len(text), float(score))
    raise Failed(f"{SEARCH} answers with what is no passage")


async def remove_parts(index: Index, kept: set[str]) -> None:
    """Remove what the index holds of parts that are not kept any more. Raises CallError."""
    for part in await index.call(SEARCH, "parts"):
        if part in kept:
            continue
        space = f"{index.address}:{part}"
        while page := await index.call(SEARCH, "sources", "", _PAGE, space):
            for one in page:
                await index.call(SEARCH, "remove", one["name"], space)
