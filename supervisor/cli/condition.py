"""`tlsrt-supervisor status --check`: how the host stands, in one line and as an exit code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from tlsrt.errors import EX_DEGRADED, EX_LOCKED, EX_WAIVED
from tlsrt.supervisor.cli.exchange import ask, host_of
from tlsrt.supervisor.messages.condition import Condition, judge

CODES: Mapping[Condition, int] = {
    Condition.OK: 0,
    Condition.WAIVED: EX_WAIVED,
    Condition.LOCKED: EX_LOCKED,
    Condition.DEGRADED: EX_DEGRADED,
    Condition.STARTING: EX_DEGRADED,
    Condition.STOPPING: EX_DEGRADED,
}


def check(arguments: argparse.Namespace) -> int:
    """Print how the host stands; return the code that says it. Raises RequestRefused, also if no host runs."""
    found = judge(ask(host_of(arguments), "status"))
    document = {"condition": str(found.condition), "why": found.why, "ready": found.is_ready}
    print(json.dumps(document) if arguments.json else found.line)
    return CODES[found.condition]
