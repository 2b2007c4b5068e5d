"""`tlsrt-supervisor restore`: let a revoked component, client or loop in again."""

from __future__ import annotations

import argparse
import json

from tlsrt.config.schema import Config
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.control.session_report import failure, restored_lines


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Restore, and print whom."""
    with ControlClient(config.run_dir) as client:
        answer = client.ask("restore", kind=arguments.kind, what=arguments.what)
    if code := failure(answer):
        return code
    print(json.dumps(answer, indent=2) if arguments.json else "\n".join(restored_lines(answer)))
    return 0
