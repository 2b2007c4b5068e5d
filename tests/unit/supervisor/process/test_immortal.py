"""Objects that are immortal before a fork: their counts stay, and what holds something still lets it go."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys
from tlsrt.supervisor.process.immortal import make_immortal

class Thing:
    value = int("12345678")

def used(text="constant " * 3):
    def inner():
        return Thing, text
    return inner()

def counts():
    found = used, used.__code__, used.__code__.co_consts[1], Thing, Thing.value, sys.modules
    return [sys.getrefcount(one) for one in found]

reader, writer = os.pipe()
file = os.fdopen(writer, "wb")
before = counts()
make_immortal()
after = counts()
kept = [used, used.__code__, used.__code__.co_consts[1], Thing, Thing.value, sys.modules] * 100
[used() for _ in range(100)]
assert counts() == after if sys.version_info >= (3, 12) else after == before
assert sys.version_info < (3, 12) or min(after) >= 1 << 30, after
del file
assert os.read(reader, 1) == b"", "what holds a descriptor lets it go with its last reference"
new = [object() for _ in range(3)]
assert sys.getrefcount(new[0]) == 2
make_immortal()
print("ok")
"""


def test_what_is_used_keeps_its_count_and_what_holds_something_goes() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("ok\n", "")
