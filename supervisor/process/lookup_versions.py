"""Give types, their instances and modules the versions that the interpreter writes into them at their first use.

CPython guards what it has specialised in code (since 3.11) by versions: of a type, of the names that its instances
share, of the names of a module. It writes each when code is first specialised for it, and so copies a page that a fork
has shared: a process of a component did that on some hundred pages. Here each gets its version before the first fork,
by code of ours that looks a name up in it as often as the interpreter wants. Where an interpreter does that otherwise
nothing is gained, and nothing is lost.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

_NEW: Any = object.__new__
_LOOK_UP: Any = object.__getattribute__
_TIMES = 4  # the second or third execution is specialised
_done: set[int] = set()  # addresses: to look a second time would write to what is shared already


def assign_versions() -> None:
    """Do that for all types and modules that have come since it was done last."""
    for kind in _all_types():
        if id(kind) not in _done:
            _done.add(id(kind))
            _assign_to_type(kind)
    for module in [*sys.modules.values()]:
        if type(module) is ModuleType and id(module) not in _done:
            _done.add(id(module))
            _execute(FunctionType(_of_module.__code__.replace(), module.__dict__))


def _assign_to_type(kind: type[Any]) -> None:
    type.__getattribute__(kind, "mro")  # its own
    if _can_be_made(kind):
        try:
            one: object = object.__new__(kind)
        except TypeError:  # an abstract one
            return
        _execute(FunctionType(_of_instance.__code__.replace(), {}), one)  # that of the names of its instances


def _of_instance(one: Any) -> object:
    return one.__module__  # every class has it, and it is no descriptor


def _of_module() -> object:
    return __name__


def _execute(function: FunctionType, *given: object) -> None:
    for _ in range(_TIMES):
        function(*given)


def _all_types() -> Iterator[type[Any]]:
    seen: set[type[Any]] = set()
    left: list[type[Any]] = [object]
    while left:
        for kind in type.__subclasses__(left.pop()):
            if kind not in seen:
                seen.add(kind)
                left.append(kind)
                yield kind


def _can_be_made(kind: Any) -> bool:
    """Tell whether to make an instance that nothing initialises executes nothing, not even when it goes."""
    if type(kind) is not type:
        return False
    made_by, looked_up_by = kind.__new__, kind.__getattribute__
    return (
        made_by is _NEW
        and looked_up_by is _LOOK_UP
        and "__module__" in kind.__dict__
        and kind.__dictoffset__ != 0
        and not hasattr(kind, "__del__")
    )
