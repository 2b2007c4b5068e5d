"""A component that writes to its folder."""

from __future__ import annotations

from tlsrt import Component, handler


class Writer(Component):
    @handler(idempotent=True)
    async def write(self) -> int:
        return (self.state / "written").write_text("something")
