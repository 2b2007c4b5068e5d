"""A component that is nothing but a process of its own: `make bench-platform` measures what that costs."""

from __future__ import annotations

from tlsrt import Component, handler


class Own(Component):
    """Answers."""

    @handler(idempotent=True)
    async def ping(self) -> int:
        """Nothing but an answer."""
        return 0
