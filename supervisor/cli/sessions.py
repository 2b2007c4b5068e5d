"""`tlsrt-supervisor sessions`: every session of the host, and who is revoked."""

from __future__ import annotations

import argparse
import json

from tlsrt.config.schema import Config
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.control.session_report import failure, sessions_text


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print the sessions."""
    with ControlClient(config.run_dir) as client:
        answer = client.ask("sessions")
    if code := failure(answer):
        return code
    print(json.dumps(answer, indent=2) if arguments.json else sessions_text(answer))
    return 0
