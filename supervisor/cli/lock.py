"""`tlsrt-supervisor lock`: lock the running host."""

from __future__ import annotations

import argparse
import json

from tlsrt.config.schema import Config
from tlsrt.errors import EX_UNAVAILABLE
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.control.lock_report import lock_lines


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Lock; exit code 0 if the host is locked and that is on the disk, 69 if it is locked until a restart only."""
    with ControlClient(config.run_dir) as client:
        answer = client.ask("lock", reason=arguments.reason)
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(lines_of(answer)))
    say(*answer.get("notes", []))
    return 0 if answer["lock"]["stored"] else EX_UNAVAILABLE


def lines_of(answer: dict[str, object]) -> list[str]:
    """Return the answer as people read it."""
    lock = answer["lock"]
    lines = lock_lines(lock if isinstance(lock, dict) else None)
    return [*(["it was locked already"] if answer["already"] else []), *lines[:-1]]
