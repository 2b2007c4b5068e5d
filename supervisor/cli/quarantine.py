"""`tlsrt-supervisor quarantine`: what is done about whom, and to end it before its time."""

from __future__ import annotations

import argparse
import json

from tlsrt.config.schema import Config
from tlsrt.errors import EX_USAGE
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.control.detection_report import step_lines
from tlsrt.supervisor.control.session_report import failure


def run(arguments: argparse.Namespace, config: Config) -> int:
    """List, or release one."""
    if arguments.what == "release":
        return _release(arguments, config)
    if arguments.name is not None:
        say(f"quarantine list takes no name: leave {arguments.name} out")
        return EX_USAGE
    with ControlClient(config.run_dir) as client:
        answer = client.ask("anomalies")
    if code := failure(answer):
        return code
    if arguments.json:
        print(json.dumps(answer["steps"], indent=2))
    else:
        print("\n".join(step_lines(answer["steps"]) or ["nothing is done about anybody"]))
    return 0


def _release(arguments: argparse.Namespace, config: Config) -> int:
    if arguments.name is None:
        say("say whom to release: LOOP/NAME, a client, a loop or an address that `quarantine list` shows")
        return EX_USAGE
    with ControlClient(config.run_dir) as client:
        answer = client.ask("release", name=arguments.name)
    if code := failure(answer):
        return code
    print(
        json.dumps(answer, indent=2)
        if arguments.json
        else "\n".join(f"released {one['subject']}" for one in answer["subjects"])
    )
    return 0
