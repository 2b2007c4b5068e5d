"""`tlsrt-supervisor restart LOOP`: have the supervisor restart a loop, and print what became of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from tlsrt.config.schema import Config
from tlsrt.errors import EX_UNAVAILABLE
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.control.client import ControlClient

RESTART_S = 3600.0  # the supervisor answers in time, by the limits of the configuration; this is for one that does not


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Restart; exit code 69 if it was refused, or if a loop did not come back."""
    with ControlClient(config.run_dir) as client:
        answer = client.ask("restart", timeout_s=RESTART_S, loop=arguments.loop)
    if "refused" in answer:
        say(str(answer["refused"]))
        return EX_UNAVAILABLE
    print(json.dumps(answer, indent=2) if arguments.json else "\n".join(line(loop) for loop in answer["loops"]))
    return EX_UNAVAILABLE if answer["failed"] else 0


def line(loop: Mapping[str, Any]) -> str:
    """Return one loop as people read it."""
    if loop["took_ms"] is not None:
        return f"{loop['name']}  active  pid {loop['pid']}  in {loop['took_ms']} ms"
    return f"{loop['name']}  {loop['state']}  {loop['reason']}"
