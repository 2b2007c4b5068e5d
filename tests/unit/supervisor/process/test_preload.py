"""What a second authority needs is imported in steps that are small, whole, and end where code does not import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.preload import SERVICES, STEPS, Preload

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


_COMMON = """
import gc, json, sys
from tlsrt.supervisor.cli import main
from tlsrt.supervisor.launch import launcher
from tlsrt.supervisor.launch import child_entries
from tlsrt.supervisor import supervisor
from tlsrt.supervisor.process.preload import AUTHORITY_RUNTIME

gc.disable()
child_entries.preload_common()
before = set(sys.modules)
child_entries.import_for_sealed(AUTHORITY_RUNTIME if sys.argv[1] == "authority" else child_entries.RUNTIME)
print(json.dumps([sorted(before), sorted(set(sys.modules) - before), gc.get_freeze_count(), gc.isenabled()]))
"""


def test_what_authority_and_loops_both_need_is_there_and_frozen_before_the_first_fork_and_nothing_else() -> None:
    found: dict[str, set[str]] = {}
    for process in ("authority", "loop"):
        done = subprocess.run([sys.executable, "-c", _COMMON, process], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        before, after, frozen, is_enabled = json.loads(done.stdout)
        assert frozen > 10_000 and not is_enabled  # the collector is enabled when all is imported
        assert not [name for name in before if name.startswith(("tlsrt.supervisor.authority.", "tlsrt.loops"))]
        found[process] = set(after)
    both = found["authority"] & found["loop"]
    assert len(both) <= 3, f"name these, or what brings them, in COMMON: {sorted(both)}"
    assert min(map(len, found.values())) > 50


_SERVICES = """
import json, sys
from tlsrt.supervisor.launch import child_entries
from tlsrt.supervisor import supervisor
from tlsrt.supervisor.process.preload import SERVICES

child_entries.preload_loops("native")
before = set(sys.modules)
child_entries.preload_loops("native", sorted(SERVICES))
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_services_that_are_imported_for_all_bring_no_library_of_others() -> None:
    done = subprocess.run([sys.executable, "-c", _SERVICES], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    names = json.loads(done.stdout)
    assert {*names} >= SERVICES
    known = sys.stdlib_module_names | {"tlsrt", "cryptography"}
    assert [name for name in names if name.partition(".")[0] not in known] == []


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
