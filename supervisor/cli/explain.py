"""`tlsrt-supervisor explain`: what an event or an exit code means, what causes it, and what to do."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

from tlsrt.command_line.exit_code_advice import ADVICE
from tlsrt.command_line.fitted import terminal_width
from tlsrt.errors import EXIT_CODES, InvalidArgument
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.event_kinds import EventName
from tlsrt.supervisor.events.explanation import advice, capital, example_line, explanation, fields_lines
from tlsrt.text import did_you_mean, quoted

_WIDTH = 80  # in a pipe


def explain(arguments: argparse.Namespace) -> int:
    """Print what is known of it."""
    width = terminal_width(is_wide=False) or _WIDTH
    print("\n".join(explained(arguments.what, width)))
    return 0


def explained(what: str, width: int) -> list[str]:
    """Return the lines about an event, its MESSAGE_ID, or an exit code. Raise InvalidArgument for what is none."""
    if what.isdecimal() and int(what) in EXIT_CODES:
        return _lines([f"exit code {what}", *_code(int(what))], width)
    of_id = {event.message_id: event for event in EVENTS.values()}
    event = EVENTS.get(what) or of_id.get(what.lower())
    if event is None:
        hint = did_you_mean(what, EVENTS)
        raise InvalidArgument(f"{quoted(what)} is no event and no exit code{hint}; `events --kinds` lists the events")
    return [*_lines([event.name, *explanation(event)], width), *_more(event)]


def _code(code: int) -> Iterator[str]:
    yield f"{capital(EXIT_CODES[code])}."
    yield from advice(*ADVICE[code])


def _more(event: EventName) -> Iterator[str]:
    yield from ["", f"Kind: {event.kind}  Severity: {event.severity}  MESSAGE_ID: {event.message_id}"]
    fields = fields_lines(event)
    yield from ["", "Fields:", *(f"  {line}" for line in fields)] if fields else []
    yield from ["", "For example:", f"  {example_line(event)}"]


def _lines(paragraphs: list[str], width: int) -> list[str]:
    wrapped = (
        "\n".join(textwrap.wrap(one, width, break_long_words=False, break_on_hyphens=False)) for one in paragraphs
    )
    return "\n\n".join(wrapped).split("\n")
