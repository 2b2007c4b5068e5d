"""Components that break before they serve, each in its own way; `Kettle` is well if its options are."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from tlsrt import Component, Range, handler


class Kettle(Component):
    class Options:
        watts: Annotated[int, Range(1, 3000), "Power at full heat."] = 2000

    @handler
    async def power(self) -> int:
        return self.options.watts


class Dry(Component):
    async def start(self) -> None:
        raise ValueError("no water\n\x1b[2Jin the kettle")


class Loud(Component):
    """What a captured component writes to its log before it says that it cannot go on."""

    def __init__(self) -> None:
        sys.stderr.write("x" * (1 << 16) + "\n")
        sys.stderr.flush()
        raise _Shout


class _Shout(Exception):
    def __init_subclass__(cls, **more: Any) -> None: ...

    def __str__(self) -> str:
        return "\x1b]0;owned\x07\x1b[31m" + "y" * (1 << 15)
