"""`tlsrt-supervisor anomalies`: who has points, what is done about whom, and with --follow what happens."""

from __future__ import annotations

import argparse
import json
import os
import sys

from tlsrt.channels.client.event_line import event_line, is_coloured
from tlsrt.config.schema import Config
from tlsrt.errors import EX_UNAVAILABLE
from tlsrt.supervisor.cli.events import LAST
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.control.detection_report import anomaly_lines
from tlsrt.supervisor.control.session_report import failure

NAMES = frozenset(
    {"detected", "response", "response_ended", "would_respond", "anomaly", "violation", "difference", "offence"}
)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print the scores, or follow the events of the detectors."""
    if arguments.follow:
        return follow(arguments, config)
    with ControlClient(config.run_dir) as client:
        answer = client.ask("anomalies")
    if code := failure(answer):
        return code
    print(json.dumps(answer, indent=2) if arguments.json else "\n".join(anomaly_lines(answer)))
    return 0


def follow(arguments: argparse.Namespace, config: Config) -> int:
    """Print each offence and step as an event, until Ctrl-C or the end of the host."""
    colour = is_coloured(sys.stdout.isatty(), os.environ)
    name = ""
    with ControlClient(config.run_dir) as client:
        for event in client.follow("events", follow=True, since=0, kinds=["security", "lifecycle"]):
            name = event.get("name", name)
            if name in NAMES or "dropped" in event:
                print(json.dumps(event) if arguments.json else event_line(event, colour=colour), flush=True)
    if name != LAST:
        say("the stream has ended: tlsrt was killed, or this reader was too slow")
        return EX_UNAVAILABLE
    return 0
