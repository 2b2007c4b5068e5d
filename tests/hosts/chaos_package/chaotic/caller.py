"""A component that calls others all the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, cast

from chaotic.notes import Notes  # type: ignore[import-not-found]
from chaotic.talker import Talker  # type: ignore[import-not-found]
from tlsrt import Component


class Caller(Component):
    """Talks from its start until it is told to be quiet. Options: folder, journals, store, together."""

    async def start(self) -> None:
        name = self.address.partition("/")[0]
        self.folder = Path(str(self.options["folder"]))
        self.notes = Notes(self.folder / f"caller-{name}.jsonl")
        journals = [str(address) for address in cast("list[object]", self.options["journals"])]
        self.talker = Talker(name, self.notes, _Ways(self), journals, str(self.options.get("store", "")))
        self.talker.begin(int(cast("int", self.options.get("together", 4))))
        self.listening = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        """Fall silent when a file `quiet` appears, and say so with another."""
        while not (self.folder / "quiet").exists():
            await asyncio.sleep(0.2)
        await self.talker.end()
        (self.folder / "silent").touch()

    async def stop(self) -> None:
        self.listening.cancel()
        await self.talker.drop()
        self.notes.close()


class _Ways:
    def __init__(self, component: Component) -> None:
        self._component = component

    def call(
        self, target: str, method: str, args: tuple[Any, ...], timeout_s: float, key: str | None
    ) -> Coroutine[Any, Any, Any]:
        return self._component.call(target, method, *args, timeout_s=timeout_s, idempotency_key=key)

    def stream(self, target: str, method: str, args: tuple[Any, ...], timeout_s: float) -> AsyncIterator[Any]:
        return self._component.stream(target, method, *args, timeout_s=timeout_s)
