"""`tlsrt-supervisor events`: the events of this host, kept ones and new ones."""

from __future__ import annotations

import argparse
import json
import os
import sys

from tlsrt.channels.client.event_line import event_line, is_coloured
from tlsrt.errors import EX_UNAVAILABLE
from tlsrt.supervisor.cli.exchange import connect, host_of, say
from tlsrt.supervisor.events.catalog import EVENTS

LAST = "stopped"
_NAME_WIDTH = max(map(len, EVENTS))


def events(arguments: argparse.Namespace) -> int:
    """Print events, one a line."""
    if arguments.kinds:
        print("\n".join(kinds_lines()))
        return 0
    colour = is_coloured(sys.stdout.isatty(), os.environ)
    seq, name = arguments.since, ""
    with connect(host_of(arguments)) as client:
        kinds = arguments.kind or []
        for event in client.follow("events", follow=arguments.follow, since=arguments.since, kinds=kinds):
            print(json.dumps(event) if arguments.json else event_line(event, colour=colour), flush=arguments.follow)
            seq, name = event.get("seq", seq), event.get("name", "")
    if arguments.follow and name != LAST and not (kinds and "lifecycle" not in kinds):
        say(f"the stream has ended: tlsrt was killed, or this reader was too slow; go on with --since {seq}")
        return EX_UNAVAILABLE
    return 0


def kinds_lines() -> list[str]:
    """Return the table of all events."""
    return [
        f"{entry.kind:<9}  {entry.severity:<7}  {entry.name:<{_NAME_WIDTH}}  {entry.sentence}"
        for entry in EVENTS.values()
    ]
