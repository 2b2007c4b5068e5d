"""`tlsrt-supervisor events`: what happened on this host, and, with --follow, what happens."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from tlsrt.config.schema import Config
from tlsrt.errors import EX_UNAVAILABLE
from tlsrt.supervisor.console import printable
from tlsrt.supervisor.control_client import ControlClient
from tlsrt.supervisor.event_kinds import EVENTS
from tlsrt.supervisor.say import say

LAST = "stopped"
_COLOURS = {"warning": "\x1b[33m", "alarm": "\x1b[31m"}
_END = "\x1b[0m"
_NAME_WIDTH = max(map(len, EVENTS))


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print events, one a line."""
    if arguments.kinds:
        print("\n".join(kinds_lines()))
        return 0
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    seq, name = arguments.since, ""
    with ControlClient(config.run_dir) as client:
        kinds = arguments.kind or []
        for event in client.follow("events", follow=arguments.follow, since=arguments.since, kinds=kinds):
            print(json.dumps(event) if arguments.json else event_line(event, colour=colour), flush=arguments.follow)
            seq, name = event.get("seq", seq), event.get("name", "")
    if arguments.follow and name != LAST and not (kinds and "lifecycle" not in kinds):
        say(f"the stream has ended: tlsrt was killed, or this reader was too slow; go on with --since {seq}")
        return EX_UNAVAILABLE
    return 0


def event_line(event: Mapping[str, Any], *, colour: bool) -> str:
    """Return one event, or a gap, for people."""
    if "dropped" in event:
        return f"... {event['dropped']} events are missing here: they came faster than they were read, or long ago"
    name = str(event["name"]).ljust(_NAME_WIDTH)
    paint = _COLOURS.get(event["severity"], "") if colour else ""
    fields = ", ".join(f"{field} {value}" for field, value in event["fields"].items() if value is not None)
    text = f"{event['subject']!s:<10} {event['sentence']}{f' ({fields})' if fields else ''}"
    return (
        f"{event['at']} {event['seq']:>5} {event['kind']:<9} {paint}{name}{_END if paint else ''} {printable(text)}"
    ).rstrip()


def kinds_lines() -> list[str]:
    """Return the table of all events."""
    return [
        f"{entry.kind:<9}  {entry.severity:<7}  {entry.name:<{_NAME_WIDTH}}  {entry.sentence}"
        for entry in EVENTS.values()
    ]
