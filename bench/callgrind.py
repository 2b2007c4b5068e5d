"""`make callgrind`: instructions of the gate for each message, under valgrind. No clock, so no noise of the machine.

The difference of two runs counts just the messages by which they differ. The figures in instructions.json hold for one
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
from typing import Any

from bench.gate_work import JOINED
from bench.processes import module, python_environment
from bench.programs import install
from bench.row import PeerMissing

FIGURES = Path(__file__).resolve().with_name("instructions.json")
TOLERANCE = 0.03
SINGLES = 1000
GROUPS = 200  # enough that what a start of Python varies by is far below the tolerance
CASES = {"64 B": (SINGLES, 0), "64 B, coalesced": (0, GROUPS)}
LIMIT_S = 900
_COLLECTED = re.compile(rb"Collected : (\d+)")


def build() -> str:
    """Return what the figures hold for."""
    libraries = " ".join(f"{name} {version(name)}" for name in ("cryptography", "msgpack"))
    return f"CPython {' '.join(sys.version.split())}, {libraries}, {os.uname().machine}"


def count(singles: int, groups: int) -> int:
    """Return the instructions of a whole run of gate_work.py."""
    with tempfile.TemporaryDirectory(prefix="tlsrt-bench-") as folder:
        argv = [
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
            *module("bench.gate_work", str(singles), str(groups)),
        ]  # fmt: skip
        env = {**python_environment(), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(argv, env=env, capture_output=True, timeout=LIMIT_S)
    found = _COLLECTED.search(done.stderr)
    if done.returncode or found is None:
        raise PeerMissing(f"valgrind: {done.stderr[-400:].decode(errors='replace').strip()}")
    return int(found[1])


def measure() -> dict[str, int]:
    """Return instructions per message by case."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        empty, *filled = pool.map(lambda pair: count(*pair), [(0, 0), *CASES.values()])
    frames = {name: singles + groups * JOINED for name, (singles, groups) in CASES.items()}
    return {name: (run - empty) // frames[name] for name, run in zip(CASES, filled, strict=True)}


def compare(known: Mapping[str, Any], this_build: str, found: Mapping[str, int]) -> tuple[list[str], bool]:
    """Return lines to show, and whether no figure has grown beyond the tolerance. Pure."""
    lines: list[str] = []
    good = True
    expected: Mapping[str, int] | None = known.get("builds", {}).get(this_build)
    if expected is None:
        lines.append(f"no figures for this build: {this_build}")
        lines.append("make callgrind RENEW=1 adds them to bench/instructions.json")
    for name, instructions in found.items():
        line = f"{name}: {instructions:,} instructions a message"
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
