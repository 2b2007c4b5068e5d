"""Gather the code that every process executes on pages of its own, before the first fork.

The interpreter writes into code how often it ran, and what it ran on: inline caches, since CPython 3.11. So a process
has pages of its own wherever it executes a function, and these lie all over the heap: 800 functions on 600 pages, of
which a few words change. Here the code objects of these functions are copied back to back, and the functions (or the
constants of the code around them) are pointed at the copies; what is written lies on some hundred pages then.

Which functions that are is a list, `executed_code.txt`, written by `make executed-code`. One that is not there, because
another version of a library has another name, stays where it is.

Python has no call for that: `code.replace` makes a new object wherever the allocator has a place. A code object holds
no address of itself, and the old one is kept, with all that both refer to. An interpreter whose objects look otherwise
is left as it is, and one that is traced: its code refers to the tracer.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType

LIST = Path(__file__).parent / "executed_code.txt"
_OLDEST, _NEWEST = (3, 12), (3, 13)  # before, each use of an object writes to its page; later ones are not known
_LOCALS = ".<locals>."
_ALIGNMENT = 16
_WORD = ctypes.sizeof(ctypes.c_void_p)
_has_gathered: list[bool] = []

Place = int  # an address at which an address of code stands


def read_names(path: Path = LIST) -> list[tuple[str, str]]:
    """Return (module, qualified name) of the functions of the list: a line for each module."""
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines() if line and line[0] != "#")
    return [(module, name) for module, *names in lines for name in names]


def gather(names: Iterable[tuple[str, str]]) -> int:
    """Gather the code of these functions; return how many there were. Call it once, before what is made immortal."""
    if not _can_be_done():
        return 0
    places: dict[int, list[Place]] = {}
    codes: dict[int, CodeType] = {}
    for module, name in names:
        for code, place in code_of(module, name):
            if not weakref.getweakrefcount(code):
                codes[id(code)] = code
                places.setdefault(id(code), []).append(place)
    sizes = {number: -(-sys.getsizeof(code) // _ALIGNMENT) * _ALIGNMENT for number, code in codes.items()}
    if not sizes:
        return 0
    region = mmap.mmap(-1, sum(sizes.values()), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _has_gathered.append(True)
    _keep(region)
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    for number, code in codes.items():
        ctypes.memmove(address, number, sys.getsizeof(code))
        _keep(code)
        _keep(ctypes.cast(address, ctypes.py_object).value)
        for place in places[number]:
            _word(place).value = address
        address += sizes[number]
    return len(codes)


def code_of(module: str, name: str) -> Iterator[tuple[CodeType, Place]]:
    """Yield the code of a function by its qualified name, and where its address stands; nothing for an unknown one."""
    outer, *inner = name.split(_LOCALS)
    for function in _functions(module, outer):
        if not inner:
            yield from _of_function(function)
        else:
            yield from _of_constants(function.__code__, name)


def _functions(module: str, path: str) -> Iterator[FunctionType]:
    found: object = sys.modules.get(module)
    for part in path.split("."):
        names = getattr(found, "__dict__", {})
        found = names.get(part) if isinstance(found, type) or type(found) is type(sys) else None
    for one in (found, *(getattr(found, name, None) for name in ("__func__", "__wrapped__", "func", "fget", "fset"))):
        if isinstance(one, FunctionType):
            yield one


def _of_function(function: FunctionType) -> Iterator[tuple[CodeType, Place]]:
    code = function.__code__
    words = range(id(function), id(function) + FunctionType.__basicsize__, _WORD)
    places = [place for place in words if _word(place).value == id(code)]
    if len(places) == 1:
        yield code, places[0]


def _of_constants(code: CodeType, name: str) -> Iterator[tuple[CodeType, Place]]:
    for number, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            place = id(code.co_consts) + tuple.__basicsize__ + number * _WORD
            if constant.co_qualname == name and _word(place).value == id(constant):
                yield constant, place
            yield from _of_constants(constant, name)


def _keep(one: object) -> None:
    """Never free it, nor when the interpreter ends: functions refer to the copy, which shares what the old one has."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


def _word(address: int) -> ctypes.c_void_p:
    return ctypes.c_void_p.from_address(address)


def _can_be_done() -> bool:
    """Tell whether objects are as they are known to be, and nothing traces them."""
    if sys.implementation.name != "cpython" or not _OLDEST <= sys.version_info[:2] <= _NEWEST or "t" in sys.abiflags:
        return False
    monitoring = getattr(sys, "monitoring", None)
    tools = [monitoring.get_tool(number) for number in range(6)] if monitoring is not None else []
    return not _has_gathered and sys.gettrace() is None and not any(tools)
