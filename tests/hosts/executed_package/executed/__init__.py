"""A component that says which functions its process has executed, by the names that `gathered_code` finds them by."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tlsrt import Component, handler

PRELUDE = """
import sys
from tlsrt.supervisor.process import fork_server

begin = fork_server._begin

def watched(*given):
    events, seen = sys.monitoring.events.PY_START, []

    def note(code, offset):
        seen.append(code)
        return sys.monitoring.DISABLE

    sys.monitoring.use_tool_id(4, "executed")
    sys.monitoring.register_callback(4, events, note)
    sys.monitoring.set_events(4, events)
    sys._executed = seen
    return begin(*given)

fork_server._begin = watched
"""  # in the supervisor of the host: each child notes what it executes


class Executed(Component):
    """Does what components do, and says what that executed."""

    @handler
    async def echo(self, text: str) -> str:
        return text

    @handler
    async def count(self, most: int) -> AsyncIterator[int]:
        for number in range(most):
            yield number

    @handler
    async def names(self) -> list[str]:
        """Return `MODULE NAME` of each function that was executed and can be found again."""
        seen: list[CodeType] = getattr(sys, "_executed", [])
        executed = {id(code) for code in seen}
        found = [pair for module in [*sys.modules.values()] if isinstance(module, ModuleType) for pair in _in(module)]
        return sorted({name for code, name in found if id(code) in executed})


def _in(module: ModuleType) -> Iterator[tuple[CodeType, str]]:
    yield from _below(module, module.__name__, "")


def _below(holder: Any, module: str, path: str) -> Iterator[tuple[CodeType, str]]:
    for name, value in [*vars(holder).items()]:
        parts = (value, *(getattr(value, part, None) for part in ("__func__", "__wrapped__", "func", "fget", "fset")))
        functions = {id(one): one for one in parts if isinstance(one, FunctionType) and one.__module__ == module}
        for function in functions.values():
            yield function.__code__, f"{module} {path}{name}"
            yield from _inside(function.__code__, module, f"{path}{name}")
        if isinstance(value, type) and value.__module__ == module and value.__qualname__ == f"{path}{name}":
            yield from _below(value, module, f"{path}{name}.")


def _inside(code: CodeType, module: str, path: str) -> Iterator[tuple[CodeType, str]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname.startswith(f"{path}.<locals>."):
                yield constant, f"{module} {constant.co_qualname}"
            yield from _inside(constant, module, path)
