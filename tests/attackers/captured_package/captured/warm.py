"""Components that warm up: one that reads its package, one that starts a thread there, one that fails there."""

from __future__ import annotations

import importlib
import threading
from importlib import resources
from typing import Any

from tlsrt import Component, handler


class Warm(Component):
    """Reads its data before the seal, and some of it afterwards."""

    def warm_up(self) -> None:
        self.words = (resources.files("captured") / "data/words.txt").read_text().split()
        self.title = self.options.get("title", "")

    @handler
    async def warmed(self) -> list[Any]:
        """What was read before the seal, and an option."""
        return [self.words, self.title]

    @handler
    async def read(self, name: str) -> str:
        """Read a file of the package now."""
        try:
            return (resources.files("captured") / name).read_text()
        except OSError as error:
            return type(error).__name__

    @handler
    async def load(self, module: str) -> str:
        """Import a module now."""
        try:
            return importlib.import_module(module).__name__
        except ImportError:
            return "ImportError"


class Threaded(Component):
    """Starts a thread where none may be."""

    def warm_up(self) -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()


class Broken(Component):
    """Cannot warm up."""

    def warm_up(self) -> None:
        raise ValueError("no model there")
