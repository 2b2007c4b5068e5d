"""A store without a loop: started in a folder, its clock set by the test, called in one line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

from tlsrt.loops.component.component import attach
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.secondary.store import Store

Result = TypeVar("Result")


class ClockedStore(Store):
    """A store whose wall clock a test sets."""

    now_ms = 1_000_000

    def wall_ms(self) -> int:
        return self.now_ms


class StoreBench:
    """A started store and short ways to call it."""

    def __init__(self, folder: Path, store: ClockedStore | None = None, **options: Any) -> None:
        self.store = store or ClockedStore()
        log = logging.getLogger("store")
        attach(self.store, address="secondary/store", options=options, state=folder, log=log, port=cast("Any", None))
        self._runner = asyncio.Runner()
        self._is_stopped = False
        try:
            self._runner.run(self.store.start())
        except BaseException:
            self._runner.close()
            raise

    def __call__(self, method: str, *args: object, subject: str = "client/a", **kwargs: object) -> Any:
        async def once() -> object:
            return await cast("Awaitable[object]", invoke(self.store, method, args, kwargs, subject=subject))

        return self._runner.run(once())

    def run(self, scene: Coroutine[Any, Any, Result]) -> Result:
        """Run a scene of a test on the store's event loop."""
        return self._runner.run(scene)

    def healthy(self) -> str | None:
        return self._runner.run(self.store.healthy())

    def stop(self) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            self._runner.run(self.store.stop())
            self._runner.close()
