"""`tlsrt-supervisor unlock`: end the lock of the running host."""

from __future__ import annotations

import argparse
import json

from tlsrt.config.schema import Config
from tlsrt.errors import EX_UNAVAILABLE
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.control.session_report import failure

UNLOCK_S = 60.0  # the supervisor answers when the door serves again, or after half of that


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Unlock; exit code 64 if the host is not locked, 69 if it stays locked or the door does not serve yet."""
    with ControlClient(config.run_dir) as client:
        answer = client.ask("unlock", timeout_s=UNLOCK_S)
    if code := failure(answer):
        return code
    if arguments.json:
        print(json.dumps(answer, indent=2))
    elif answer["serves"]:
        print(f"unlocked: epoch {answer['epoch']}, the door serves again after {answer['took_ms'] / 1000:.2f} s")
    if not answer["serves"]:
        say("unlocked, but Primary does not serve yet: see `status`")
        return EX_UNAVAILABLE
    return 0
