"""A component that counts, for tests of metrics."""

from __future__ import annotations

from tlsrt import Component, NotFound, handler


class Counting(Component):
    """Counts what it is asked to."""

    @handler
    async def add(self, name: str, by: float) -> None:
        """Count, set a gauge and time a block, all under names with `name` in them."""
        self.count(f"{name}.sum", by)
        self.gauge(f"{name}.last", by)
        with self.time(f"{name}.time"):
            pass

    @handler
    async def fail(self) -> None:
        """End with an error."""
        raise NotFound("it is a test")
