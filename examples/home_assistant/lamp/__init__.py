"""A lamp that Home Assistant shows and turns: a component for tlsrt."""

from __future__ import annotations

from tlsrt import Component, handler

WATTS = 7.5


class Lamp(Component):
    """A lamp. Where yours is real, its methods write to a device."""

    topics = {"turned": "whether it is on now"}  # noqa: RUF012

    async def start(self) -> None:
        self.is_lit = False
        self.blinks = 0

    @handler(idempotent=True)
    async def on(self) -> None:
        """Turn it on."""
        self._turn(True)

    @handler(idempotent=True)
    async def off(self) -> None:
        """Turn it off."""
        self._turn(False)

    @handler
    async def blink(self, times: int = 1) -> int:
        """Blink; returns how often it has by now."""
        self.blinks += times
        return self.blinks

    @handler(idempotent=True)
    async def look(self) -> dict[str, float | bool | int]:
        """Whether it is on, what it takes, and how often it has blinked."""
        return {"is_on": self.is_lit, "watts": WATTS if self.is_lit else 0.0, "blinks": self.blinks}

    def _turn(self, is_lit: bool) -> None:
        self.is_lit = is_lit
        self.publish("turned", {"is_on": is_lit})
