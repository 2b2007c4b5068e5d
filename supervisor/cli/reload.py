"""`tlsrt-supervisor reload`: have the supervisor take what was changed, and print its report."""

from __future__ import annotations

import argparse
import json

from tlsrt.config.schema import Config
from tlsrt.errors import EX_CONFIG, EX_UNAVAILABLE
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.reload.report import lines

RELOAD_S = 3600.0  # the supervisor answers in time, by the limits of the configuration; this is for one that does not


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Reload; `config` only finds the socket: the supervisor reads the file itself, and says what is wrong with it."""
    with ControlClient(config.run_dir) as client:
        answer = client.ask("reload", timeout_s=RELOAD_S)
    if "refused" in answer:
        say(*answer["refused"])
        return EX_CONFIG
    print(json.dumps(answer, indent=2) if arguments.json else "\n".join(lines(answer)))
    return EX_UNAVAILABLE if answer["failed"] else 0
