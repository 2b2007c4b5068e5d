"""`tlsrt-supervisor start`."""

from __future__ import annotations

import argparse
import os

from tlsrt.config.search_path import find_config


def start(arguments: argparse.Namespace) -> int:
    """Run in the foreground until the supervisor ends."""
    from tlsrt.supervisor.launch.cleanup import sweep
    from tlsrt.supervisor.launch.launcher import launch

    return launch(["--config", os.path.abspath(find_config(arguments.config))], sweep=sweep)
