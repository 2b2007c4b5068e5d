"""Make objects immortal before the first fork, so that to use them writes to no page that processes share.

CPython counts references in the object itself: to call a function writes to the function, its code and its constants,
and each write copies a page that a fork has shared. Since 3.12 an object with a certain count is immortal, and its
count is left alone (PEP 683). Python has no call for that, so the count of None is written where the counts of others
are: in the lower half of their first word. Older interpreters are left as they are, and one whose objects look
otherwise.

What is immortal never goes. So this is for what a program has after its imports: code, classes, modules, constants.
What holds something (it has `close`, `release` or `__del__`) and what runs stays as it is.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from types import CodeType, FrameType, FunctionType

_COUNTS = 1 << 50  # words of 32 bits: more than any address of a process (aarch64: up to 2^52)
_NO_COUNT = 1 << 30
_REFERENCES = 7


def make_immortal() -> None:
    """Make immortal what the collector sees, what its dictionaries hold, the code of functions and its constants."""
    if not _can_be_done():
        return
    found = gc.get_objects()
    codes = [one.__code__ for one in found if type(one) is FunctionType]
    while codes:
        constants = [code.co_consts for code in codes]
        inner = [one for each in constants for one in each]
        found += codes
        found += constants
        found += inner
        codes = [one for one in inner if type(one) is CodeType]
    found += sys.modules  # a look for new modules goes over all names
    found += gc.get_referents(*[one for one in found if type(one) is dict])  # constants of modules and classes
    lasting = {kind for kind in set(map(type, found)) if not _holds_something(kind)}
    counts = memoryview((ctypes.c_uint32 * _COUNTS).from_address(0)).cast("B").cast("I")
    immortal = counts[id(None) >> 2]
    for one in found:
        if type(one) in lasting and counts[(place := id(one) >> 2)] != immortal:
            counts[place] = immortal


def _holds_something(kind: type) -> bool:
    return kind is FrameType or any(hasattr(kind, name) for name in ("close", "release", "__del__"))


def _can_be_done() -> bool:
    """Tell whether objects are as they are known to be: the count comes first, and None has one that is none."""
    if sys.version_info < (3, 12) or sys.implementation.name != "cpython" or sys.byteorder != "little":
        return False
    if (
        "t" in sys.abiflags or ctypes.sizeof(ctypes.c_void_p) != 8
    ):  # t: without the GIL; sysconfig would import its data
        return False
    probe = object()
    references = [probe] * (_REFERENCES - 1)
    read = ctypes.c_uint32.from_address
    return read(id(probe)).value == len(references) + 1 and read(id(None)).value >= _NO_COUNT
