"""Code is gathered on few pages, and everything that runs by it does what it did."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import Any

from tlsrt.supervisor.process.gathered_code import code_of, gather, read_names

PAGE = 4096
IS_DONE = (3, 12) <= sys.version_info[:2] <= (3, 13)
# In an interpreter of its own: gathered is once, and for good.
SCRIPT = """
import dataclasses, functools, json, sys, types
from tlsrt.supervisor.process.gathered_code import code_of, gather

@dataclasses.dataclass
class Point:
    x: int
    def double(self, by=2):
        return [self.x * by for _ in range(by)]
    @staticmethod
    def fixed():
        return "fixed"
    @classmethod
    def named(cls):
        return cls.__name__
    @property
    def half(self):
        return self.x / 2

def outer(base):
    def inner(value):
        return (lambda more: base + value + more)(1)
    return inner

def numbers(most):
    for number in range(most):
        yield number

@functools.wraps(numbers)
def wrapping(most):
    return numbers(most)

def fails():
    raise ValueError("as before")

def work():
    try:
        fails()
    except ValueError as error:
        said = error.__traceback__.tb_next.tb_frame.f_code.co_name
    return [Point(3).double(), Point.fixed(), Point.named(), Point(3).half, outer(1)(2), [*wrapping(3)], said]

NAMES = ["Point.__init__", "Point.double", "Point.fixed", "Point.named", "Point.half", "outer", "numbers", "wrapping",
         "outer.<locals>.inner", "outer.<locals>.inner.<locals>.<lambda>", "fails", "work", "not_there", "Point.nor"]
before = [work() for _ in range(100)][-1]
running = numbers(3)
next(running)
old = outer(1)
count = gather([("__main__", name) for name in NAMES] + [("no.module", "name")])
after = [work() for _ in range(100)]
codes = [id(code) for name in NAMES for code, _ in code_of("__main__", name)]
print(json.dumps({
    "before": before, "same": all(one == before for one in after), "count": count, "codes": codes,
    "old": [old(2), *running], "again": gather([("__main__", "work")]),
    "copy": Point.double.__code__.replace(co_name="other").co_name, "equal": outer(1).__code__ == old.__code__,
}))
"""


def scenario() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), "also when the interpreter ends"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_gathered_does_what_it_did_and_lies_together() -> None:
    facts = scenario()
    assert facts["before"] == [[6, 6], "fixed", "Point", 1.5, 4, [0, 1, 2], "fails"] and facts["same"]
    assert facts["count"] == (12 if IS_DONE else 0) and facts["again"] == 0
    codes = facts["codes"]
    assert len(codes) >= 12 and (not IS_DONE or max(codes) - min(codes) < 2 * PAGE)
    assert facts["old"] == [4, 1, 2], "what was running goes on"
    assert facts["copy"] == "other" and facts["equal"]


def test_nothing_is_gathered_while_it_is_traced() -> None:
    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: None)
    try:
        assert gather([(__name__, "scenario")]) == 0
    finally:
        sys.settrace(before)


def test_the_list_names_functions_that_there_are() -> None:
    names = read_names()
    ours = [(module, name) for module, name in names if module.startswith("tlsrt.")]
    assert len(ours) > 300 and len(set(names)) == len(names)
    for module in {module for module, _ in ours}:
        importlib.import_module(module)
    stale = [pair for pair in ours if not [*code_of(*pair)]]
    assert not stale, "run `make executed-code`"
