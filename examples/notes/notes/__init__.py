"""Short notes, as a component of one's own for tlsrt."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tlsrt import Component, handler


class Notes(Component):
    """Short notes, kept in memory."""

    async def start(self) -> None:
        self.notes: list[tuple[str, list[str]]] = []

    async def healthy(self) -> str | None:
        """Asked every 10 s whether all is well: None is yes, a sentence says what is not."""
        return "there is no room for more notes" if len(self.notes) > 9999 else None

    @handler
    async def add(self, text: str, tags: list[str] = []) -> int:  # noqa: B006 (the runtime copies it for each call)
        """Add a note; returns its number, and tells everyone who subscribed to `added`."""
        self.notes.append((text, tags))
        self.publish("added", text)
        return len(self.notes)

    @handler(idempotent=True)
    async def all(self, tag: str | None = None) -> AsyncIterator[str]:
        """Every note, or those with a tag, one after the other."""
        for text, tags in self.notes:
            if tag is None or tag in tags:
                yield text

    @handler(idempotent=True)
    async def host(self) -> str:
        """The release of the kernel, asked of another component in another process."""
        return str((await self.call("primary/kernel", "uname"))["release"])
