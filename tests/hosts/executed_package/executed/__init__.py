"""A component that says which functions the processes of its host execute, by the names `gathered_code` finds them by.

Each child of the fork server notes the code that it executes, by its address, in memory that all of them share. What
was imported before the forks is at one address in all processes, so this one can tell what the others have executed.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tlsrt import Component, handler

PRELUDE = """
import mmap, sys
from tlsrt.supervisor.process import fork_server

CHILDREN, CODES = 64, 8192
sys._executed = words = memoryview(mmap.mmap(-1, CHILDREN * CODES * 8)).cast("Q")
events, fork, place = sys.monitoring.events.PY_START, fork_server._fork, [-CODES, 0]

def note(code, offset):
    words[place[1]] = id(code)
    place[1] += 1
    return sys.monitoring.DISABLE

def watched(*given):
    if sys.monitoring.get_tool(4) is None:
        sys.monitoring.use_tool_id(4, "executed")
        sys.monitoring.register_callback(4, events, note)
        sys._known = set(sys.modules)
    place[0] += CODES
    place[1] = place[0]
    sys.monitoring.restart_events()
    sys.monitoring.set_events(4, events)
    try:
        return fork(*given)  # in the child this does not return
    finally:
        sys.monitoring.set_events(4, 0)

fork_server._fork = watched
"""  # in the supervisor of the host
CODES = 8192  # of a child


class Executed(Component):
    """Does what components do, and says what all processes have executed."""

    @handler
    async def echo(self, text: str) -> str:
        return text

    @handler
    async def count(self, most: int) -> AsyncIterator[int]:
        for number in range(most):
            yield number

    @handler
    async def names(self) -> list[list[Any]]:
        """Return [module, name, the children that have executed it] of each function that can be found again."""
        words: memoryview[int] = getattr(sys, "_executed")  # noqa: B009  the prelude has put it there
        known: set[str] = getattr(sys, "_known")  # noqa: B009
        children = [set(words[at : at + CODES]) for at in range(0, len(words), CODES)]
        modules = [(name, one) for name, one in [*sys.modules.items()] if name in known and isinstance(one, ModuleType)]
        found = {id(code): (module, path) for module, one in modules for code, path in _below(one, module, "")}
        by = {number: [at for at, codes in enumerate(children) if number in codes] for number in found}
        return sorted([*found[number], executed] for number, executed in by.items() if executed)


def _below(holder: Any, module: str, path: str) -> Iterator[tuple[CodeType, str]]:
    for name, value in [*vars(holder).items()]:
        parts = (value, *(getattr(value, part, None) for part in ("__func__", "__wrapped__", "func", "fget", "fset")))
        functions = {id(one): one for one in parts if isinstance(one, FunctionType) and _is_of(one.__module__, module)}
        for function in functions.values():
            yield function.__code__, f"{path}{name}"
            yield from _inside(function.__code__, f"{path}{name}")
        if isinstance(value, type) and _is_of(value.__module__, module) and value.__qualname__ == f"{path}{name}":
            yield from _below(value, module, f"{path}{name}.")


def _is_of(said: object, module: str) -> bool:
    """Tell whether something is of a module: those of the interpreter's own importer have two names."""
    return said == module or f"{said}" == module.replace("_frozen_importlib", "importlib._bootstrap")


def _inside(code: CodeType, path: str) -> Iterator[tuple[CodeType, str]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname.startswith(f"{path}.<locals>."):
                yield constant, constant.co_qualname
            yield from _inside(constant, path)
