"""A component that reads a file for whoever asks."""

from __future__ import annotations

from tlsrt import Component, handler


class Reader(Component):
    @handler(idempotent=True)
    async def text(self, path: str) -> str:
        with open(path, encoding="utf-8") as file:
            return file.read()
