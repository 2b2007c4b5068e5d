"""Components that are not well, in every way in which one can say so, or say nothing."""

from __future__ import annotations

import asyncio
import time

from tlsrt import Component, handler


class Ailing(Component):
    """Its check is a coroutine."""

    how = "good"
    asked = running = most = 0

    async def healthy(self) -> str | None:
        self.asked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self._answer()
        finally:
            self.running -= 1

    async def _answer(self) -> str | None:
        if self.how == "words":
            return "the sky is falling"
        if self.how == "raise":
            raise RuntimeError("the sky has fallen")
        while self.how in ("slow", "deaf"):
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                if self.how == "slow":
                    raise
        return None

    @handler(idempotent=True)
    async def become(self, how: str) -> None:
        self.how = how

    @handler
    async def work(self, seconds: float) -> int:  # type: ignore[override]  # a handler of that name
        """Take some time."""
        await asyncio.sleep(seconds)
        return self.asked

    @handler(idempotent=True)
    async def counts(self) -> dict[str, int]:
        return {"asked": self.asked, "most": self.most}


class Blunt(Component):
    """Its check is none."""

    how = "good"

    def healthy(self) -> str | None:
        if self.how == "block":
            time.sleep(3600)
        return None

    @handler(idempotent=True)
    async def become(self, how: str) -> None:
        self.how = how
