"""`tlsrt-supervisor stop`: have everything ended in order, and wait for it."""

from __future__ import annotations

import argparse

from tlsrt.config.schema import Config
from tlsrt.errors import EX_SOFTWARE
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.control.client import ControlClient


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Stop, and return when the supervisor has ended, or should have long ago."""
    longest_s = (len(config.loops) + 1) * config.limits.stop_timeout_s + 5
    with ControlClient(config.run_dir) as client:
        pid = client.ask("stop")["pid"]
        has_ended = client.wait_for_end(longest_s)
    if not has_ended:
        say(f"pid {pid} has not ended in {longest_s:g} s: kill it with `kill -9 {pid}`, and every loop ends with it")
        return EX_SOFTWARE
    print(f"tlsrt (pid {pid}) has stopped")
    return 0
