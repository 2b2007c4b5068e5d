"""`tlsrt-supervisor status`: what the supervisor says of itself, as a table or as JSON."""

from __future__ import annotations

import argparse
import json

from tlsrt.config.schema import Config
from tlsrt.supervisor.control_client import ControlClient
from tlsrt.supervisor.status import table


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print the status."""
    with ControlClient(config.run_dir) as client:
        document = client.ask("status")
    print(json.dumps(document, indent=2) if arguments.json else table(document))
    return 0
