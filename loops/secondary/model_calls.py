"""What the AI services share: a bound for calls that are open at once, and the sentence where an extra is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from tlsrt import BoundedTable, Busy, DeadlineExceeded, Unavailable, WhenFull

STALL_S = 30.0  # without a piece of an upload


class ModelCalls:
    """Calls that wait for a model or have it work: `most` of all callers, `share` of one."""

    def __init__(self, what: str, most: int, share: int) -> None:
        self._what = what
        self._most = most
        self._share = share
        self._open: BoundedTable[object, None] = BoundedTable(most, share, WhenFull.REFUSE)

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """Count one call, until the block ends. Raises Busy."""
        call = object()
        if not self._open.add(call, None, caller).is_added:
            raise Busy(
                f"{self._what} has {self._share} calls of yours, or {self._most} of all, and takes no more: "
                "try again when one of them has ended"
            )
        try:
            yield
        finally:
            self._open.remove(call)


class Extra:
    """Packages that an extra of tlsrt brings. Looked for when the class is imported: a sealed process finds none."""

    def __init__(self, name: str, what: str, *packages: str) -> None:
        self.missing = [one for one in packages if find_spec(one) is None]
        self._sentence = f"{what} needs the extra `{name}`: pip install 'tlsrt[{name}]', seal, and reload"

    def expect(self) -> None:
        """Raise Unavailable, with how to get it, if it is not installed."""
        if self.missing:
            raise Unavailable(self._sentence)


async def paced(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give the pieces of an upload. Raises DeadlineExceeded if none comes for half a minute."""
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                piece = await anext(parts)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise DeadlineExceeded(f"nothing came for {STALL_S:g} s: end the upload, or send silence") from None
        yield piece
