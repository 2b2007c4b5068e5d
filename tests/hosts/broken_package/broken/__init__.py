"""Components that break before they serve, each in its own way; `Kettle` is well if its options are."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

from tlsrt import Component, ConfigError, Range, handler
from tlsrt.channels.control.life import FailCode


class Kettle(Component):
    class Options:
        watts: Annotated[int, Range(1, 3000), "Power at full heat."] = 2000

    @handler
    async def power(self) -> int:
        return self.options.watts


class Dry(Component):
    async def start(self) -> None:
        raise ValueError("no water\n\x1b[2Jin the kettle")


class Strict(Component):
    """Checks its options itself."""

    async def start(self) -> None:
        if "size" not in self.options:
            raise ConfigError("give it a size")


class Loud(Component):
    """What a captured component writes to its log before it says that it cannot go on."""

    def __init__(self) -> None:
        sys.stderr.write("x" * (1 << 16) + "\n")
        sys.stderr.flush()
        raise _Shout


class Liar(Component):
    """Captured: writes what it likes as the last line of its log, and says again and again that it cannot go on."""

    def __init__(self) -> None:
        frame: Any = sys._getframe()
        while not hasattr(frame.f_locals.get("self"), "_fail"):
            frame = frame.f_back
        lie = b"2026-11-28 00:00:00,000 ERROR primary: \x1b]0;owned\x07\x1b[2J\r\xe2\x80\xaeprimary  failed\x00"
        os.write(2, b"z" * (1 << 20) + b"\n" + lie)
        for _ in range(20):
            frame.f_locals["self"]._fail(FailCode.CONFIGURATION, 0)
        os._exit(1)


class _Shout(Exception):
    def __init_subclass__(cls, **more: Any) -> None: ...

    def __str__(self) -> str:
        return "\x1b]0;owned\x07\x1b[31m" + "y" * (1 << 15)
