"""`make callgrind`: instructions of each part of a call, under valgrind. No clock, so no noise of the machine.

The difference of two runs counts just what they differ by: messages of the gate, calls, hops (`gate_work.py`,
`call_work.py`). The figures in instructions.json hold for one
build of Python and one of the libraries; another build counts otherwise, and then there is nothing to compare with.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from bench.call_work import GROUP
from bench.gate_work import JOINED
from bench.processes import module, python_environment
from bench.programs import install
from bench.row import PeerMissing

FIGURES = Path(__file__).resolve().with_name("instructions.json")
TOLERANCE = 0.03
SINGLES = 1000
CALLS = 300
GROUPS = 200  # enough that what a start of Python varies by is far below the tolerance


class Case(NamedTuple):
    """What one run counts: so many of its program's case `at`, each of which holds `parts`."""

    program: str
    at: int
    times: int
    parts: int = 1


CASES = {
    "gate: a message of 64 B": Case("gate_work", 0, SINGLES),
    "gate: a message, coalesced": Case("gate_work", 1, GROUPS, JOINED),
    "caller: a call alone": Case("call_work", 0, CALLS),
    "caller: a call of a bundle": Case("call_work", 1, CALLS // 5, GROUP),
    "callee: a request alone": Case("call_work", 2, CALLS),
    "callee: a request of a bundle": Case("call_work", 3, CALLS // 5, GROUP),
    "link: a frame there and back, with its turns": Case("call_work", 4, CALLS),
    "turn: the same between bare sockets": Case("call_work", 5, CALLS),
}
NUMBERS = {"gate_work": 2, "call_work": 6}  # that a program takes
LIMIT_S = 900
_COLLECTED = re.compile(rb"Collected : (\d+)")


def build() -> str:
    """Return what the figures hold for."""
    libraries = " ".join(f"{name} {version(name)}" for name in ("cryptography", "msgpack"))
    return f"CPython {' '.join(sys.version.split())}, {libraries}, {os.uname().machine}"


def count(program: str, counts: Sequence[int]) -> int:
    """Return the instructions of a whole run of one of the two programs."""
    with tempfile.TemporaryDirectory(prefix="tlsrt-bench-") as folder:
        argv = [
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
            *module(f"bench.{program}", *map(str, counts)),
        ]  # fmt: skip
        env = {**python_environment(), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(argv, env=env, capture_output=True, timeout=LIMIT_S)
    found = _COLLECTED.search(done.stderr)
    if done.returncode or found is None:
        raise PeerMissing(f"valgrind: {done.stderr[-400:].decode(errors='replace').strip()}")
    return int(found[1])


def measure() -> dict[str, int]:
    """Return instructions by case."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        empty = {program: pool.submit(count, program, [0] * size) for program, size in NUMBERS.items()}
        filled = {name: pool.submit(count, case.program, _counts(case)) for name, case in CASES.items()}
        return {
            name: (filled[name].result() - empty[case.program].result()) // (case.times * case.parts)
            for name, case in CASES.items()
        }


def _counts(case: Case) -> list[int]:
    return [case.times if at == case.at else 0 for at in range(NUMBERS[case.program])]


def compare(known: Mapping[str, Any], this_build: str, found: Mapping[str, int]) -> tuple[list[str], bool]:
    """Return lines to show, and whether no figure has grown beyond the tolerance. Pure."""
    lines: list[str] = []
    good = True
    expected: Mapping[str, int] | None = known.get("builds", {}).get(this_build)
    if expected is None:
        lines.append(f"no figures for this build: {this_build}")
        lines.append("make callgrind RENEW=1 adds them to bench/instructions.json")
    for name, instructions in found.items():
        line = f"{name}: {instructions:,} instructions"
        if expected is not None and name in expected:
            change = instructions / expected[name] - 1
            line += f", {change:+.1%} of {expected[name]:,}"
            if change > TOLERANCE:
                good = False
                line += f": more than {TOLERANCE:.0%} more. Make it cheaper, or RENEW=1 and say in the commit why"
            elif change < -TOLERANCE:
                line += ": cheaper, RENEW=1 keeps it so"
        lines.append(line)
    return lines, good


def renewed(known: Mapping[str, Any], this_build: str, found: Mapping[str, int]) -> dict[str, Any]:
    """Return the document with the figures of this build. Pure."""
    return {**known, "builds": {**known.get("builds", {}), this_build: dict(found)}}


def main(argv: Sequence[str] | None = None) -> int:
    """Count, compare or renew; 0 if nothing has grown, 69 if valgrind cannot be had."""
    parser = argparse.ArgumentParser(prog="bench/run_callgrind.py", description=__doc__.splitlines()[0])
    parser.add_argument("--renew", action="store_true", help="write the figures of this build")
    arguments = parser.parse_args(argv)
    try:
        if shutil.which("valgrind") is None:
            install("valgrind")
        found = measure()
    except PeerMissing as missing:
        print(missing)
        return 69
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    lines, good = compare(known, build(), found)
    print(*lines, sep="\n")
    if arguments.renew:
        FIGURES.write_text(json.dumps(renewed(known, build(), found), indent=1) + "\n")
        print(f"written: {FIGURES}")
    return 0 if good or arguments.renew else 1
