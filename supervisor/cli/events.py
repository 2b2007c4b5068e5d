"""`tlsrt-supervisor events`: the events of this host, kept ones and new ones."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tlsrt.channels.client.event_line import event_line, is_coloured
from tlsrt.command_line.fitted import terminal_width
from tlsrt.errors import EX_UNAVAILABLE, InvalidArgument
from tlsrt.supervisor.cli.exchange import connect, host_of, say
from tlsrt.supervisor.cli.timeline import timeline_lines
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.event_kinds import Severity
from tlsrt.supervisor.events.journal_catalog import catalog_text

LAST = "stopped"
_LINE_WIDTH = 120  # of a time line in a pipe
_SEVERITIES = [str(severity) for severity in Severity]  # the least first
_NAME_WIDTH = max(map(len, EVENTS))


def events(arguments: argparse.Namespace) -> int:
    """Print events, one a line."""
    if arguments.kinds:
        print("\n".join(kinds_lines()))
        return 0
    if arguments.catalog:
        print(catalog_text(), end="")
        return 0
    if arguments.follow and arguments.until is not None:
        raise InvalidArgument("--until and --follow do not go together: leave one out")
    if arguments.timeline and (arguments.follow or arguments.json):
        raise InvalidArgument("--timeline goes with neither --follow nor --json: leave one out")
    colour = is_coloured(sys.stdout.isatty(), os.environ)
    host, kinds = host_of(arguments), arguments.kind or []
    wanted = Wanted(arguments.since, arguments.until, arguments.severity)

    def show(event: dict[str, Any]) -> None:
        print(json.dumps(event) if arguments.json else event_line(event, colour=colour), flush=arguments.follow)

    seq, kept = wanted.sequence, list[dict[str, Any]]()
    with connect(host) as client:
        for event in client.follow("events", follow=False, since=seq, kinds=kinds):
            seq = event.get("seq", seq)
            if wanted.has(event):
                kept.append(event)
    if arguments.count is not None:
        kept = kept[len(kept) - min(arguments.count, len(kept)) :]
    if arguments.timeline:
        print("\n".join(timeline_lines(kept, terminal_width(is_wide=False) or _LINE_WIDTH)))
        return 0
    for event in kept:
        show(event)
    if not arguments.follow:
        return 0
    name = ""
    with connect(host) as client:  # goes on after the last one that was kept, so none is missing or twice
        for event in client.follow("events", follow=True, since=seq, kinds=kinds):
            if wanted.has(event):
                show(event)
            seq, name = event.get("seq", seq), event.get("name", "")
    if name != LAST and not (kinds and "lifecycle" not in kinds):
        say(f"the stream has ended: tlsrt was killed, or this reader was too slow; go on with --since {seq}")
        return EX_UNAVAILABLE
    return 0


class Wanted:
    """Which events are wanted: since a number or a time, until a time, and of what severity at least. Pure."""

    def __init__(self, since: float, until: float | None, severity: str) -> None:
        self.sequence = since if isinstance(since, int) else 0
        self._since = None if isinstance(since, int) else since
        self._until = until
        self._least = _SEVERITIES.index(severity)

    def has(self, event: Mapping[str, Any]) -> bool:
        """Tell whether an event is wanted; a gap always is."""
        if "dropped" in event or "error" in event:
            return True
        severity = event.get("severity")
        if severity in _SEVERITIES and _SEVERITIES.index(severity) < self._least:
            return False
        if self._since is None and self._until is None:
            return True
        try:
            at = datetime.fromisoformat(str(event["at"])).timestamp()
        except (KeyError, ValueError):
            return True
        return (self._since is None or at >= self._since) and (self._until is None or at <= self._until)


def kinds_lines() -> list[str]:
    """Return the table of all events."""
    return [
        f"{entry.kind:<9}  {entry.severity:<7}  {entry.name:<{_NAME_WIDTH}}  {entry.sentence}"
        for entry in EVENTS.values()
    ]
