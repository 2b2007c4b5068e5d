"""`tlsrt events`: the events of the host, kept ones and new ones."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import aclosing

from tlsrt.channels.cli.client import client_of
from tlsrt.channels.client.event_line import event_line, is_coloured
from tlsrt.channels.client.events import Event, Journal, follow, look_back, may_hear
from tlsrt.output import to_json


async def events(arguments: argparse.Namespace) -> None:
    """Print the events that the host keeps, and with --follow those to come."""
    colour = is_coloured(sys.stdout.isatty(), os.environ)

    def tell(event: Event) -> None:
        print(to_json(event) if arguments.json else event_line(event, colour=colour), flush=arguments.follow)

    async with client_of(arguments) as client:
        heard = may_hear(client, arguments.kind or [], live=arguments.follow)
        journal = Journal(heard, arguments.since)
        if not arguments.follow:
            for event in await look_back(client, journal, arguments.timeout):
                tell(event)
            return
        async with aclosing(follow(client, heard, journal, arguments.timeout)) as stream:
            async for event in stream:
                tell(event)
