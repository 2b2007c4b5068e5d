"""Find the layers that `init` must waive, by `sandbox check` in a process of its own.

The check enters namespaces from which there is no way back, so `init` cannot do it itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tlsrt.config.template import Waiver
from tlsrt.supervisor.cli.sandbox import CHECK_PROGRAM

_PATIENCE_S = 60
_PROGRAM = "import sys; from tlsrt.supervisor.launch.launcher import launch; sys.exit(launch(['--json'], program={!r}))"
# What is no reason to refuse a start, or what no waiver can mend.
_NOT_WAIVED = frozenset({"cgroup", "code"})


def needed_waivers() -> tuple[list[Waiver], list[str]]:
    """Return the waivers that this host needs, and sentences about what a waiver cannot mend."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-B", "-c", _PROGRAM.format(CHECK_PROGRAM)],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            cwd="/",
            check=False,
        )
        document = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError):
        return [], ["cannot check what this host can enforce: run `tlsrt-supervisor sandbox check`"]
    except ValueError:
        said = done.stderr.strip().splitlines()
        return [], [f"this host cannot run tlsrt: {said[-1].rpartition(': ')[2] if said else 'no reason given'}"]
    return _sorted(document)


def _sorted(document: dict[str, Any]) -> tuple[list[Waiver], list[str]]:
    missing = [row for row in document["layers"] if row["name"] in document["missing"]]
    hopeless = [row for row in missing if row["fatal"] or row["name"] == "code"]
    waivers = [
        Waiver(row["name"], row["reason"], row["voids"])
        for row in missing
        if row["name"] not in _NOT_WAIVED and row not in hopeless
    ]
    return waivers, [f"no start will work yet: {row['name']}: {row['reason']}: {row['remedy']}" for row in hopeless]
