"""A component in the place of third/files that lies about sizes and content, and can be slow."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

from tlsrt import Component, handler

CONTENT = b"content " * 10_000


class Files(Component):
    """Its files are named by the lie that is told of them."""

    @handler(idempotent=True)
    async def list(self, path: str = "", after: str = "") -> dict[str, Any]:
        if not path:
            return {"entries": [{"name": "<b>\u202e" + "a" * 4096, "kind": "tree", "rights": "rw"}], "skipped": 0}
        if after == "" and getattr(self, "has_looked", False):
            await asyncio.sleep(3.5)
        self.has_looked = True
        names = ["other bytes", "more bytes", "huge", "no digest"]
        return {
            "entries": [{"name": name, "kind": "file", "size_bytes": 1 << 63} for name in names],
            "skipped": 2**64 - 1,
        }

    @handler(idempotent=True)
    async def stat(self, path: str) -> dict[str, Any]:
        size, digest = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
        if path.endswith("more bytes"):
            size -= 1
        elif path.endswith("huge"):
            size = 2**63
        return {"size_bytes": size, "sha256": None if path.endswith("no digest") else digest}

    @handler(idempotent=True)
    async def read_stream(self, path: str, offset: int = 0) -> AsyncIterator[bytes]:
        yield b"\0" * len(CONTENT)
