"""What a second authority needs is imported in steps that are small, whole, and end where code does not import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.preload import STEPS, Preload

MOST = 14  # modules of one step; cryptography.x509 brings nine, and cannot be had in parts

_MEASURE = """
import json, sys
from tlsrt.supervisor.cli import main
from tlsrt.supervisor.launch import launcher
from tlsrt.supervisor.launch import child_entries
from tlsrt.supervisor import supervisor
from tlsrt.supervisor.process.preload import AUTHORITY_RUNTIME, STEPS, Preload

child_entries.preload_loops("libzmq")
steps = Preload(child_entries.import_for_sealed)
rows = []
while True:
    before = len(sys.modules)
    if not steps.step():
        break
    rows.append(len(sys.modules) - before)
before = set(sys.modules)
child_entries.import_for_sealed(AUTHORITY_RUNTIME)
print(json.dumps([rows, sorted(set(sys.modules) - before), [name for name in STEPS if name not in sys.modules]]))
"""


def test_each_step_is_small_and_all_of_them_are_everything() -> None:
    done = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    rows, left, missing = json.loads(done.stdout)
    assert len(rows) == len(STEPS) == len(set(STEPS)) and left == []
    assert {*missing} <= {"cryptography.hazmat.primitives.asymmetric.mldsa"}  # which came with its version 47
    counts = dict(zip(STEPS, rows, strict=True))
    assert {name: count for name, count in counts.items() if count > MOST} == {}, "name one of what it needs before it"
    assert sum(counts.values()) > 3 * MOST, "the authority needs more than that, so it was imported before"


def test_code_that_does_not_import_ends_it() -> None:
    asked: list[str] = []

    def load(name: str) -> None:
        asked.append(name)
        if len(asked) == 3:
            raise ImportError(name)

    steps = Preload(load)
    assert [steps.step() for _ in range(5)] == [True, True, True, False, False]
    assert asked == list(STEPS[:3])


@pytest.mark.parametrize("is_said_otherwise", [False, True])
def test_what_a_library_does_not_have_in_this_version_is_left_out(is_said_otherwise: bool) -> None:
    """As `import_for_sealed` says it, too: cryptography 43 has not all that is named here."""
    asked: list[str] = []

    def load(name: str) -> None:
        asked.append(name)
        if not name.startswith("tlsrt."):
            absent = ModuleNotFoundError(name=name)
            if is_said_otherwise:
                raise ConfigError("does not import") from absent
            raise absent

    steps = Preload(load)
    while steps.step():
        continue
    assert asked == list(STEPS)
