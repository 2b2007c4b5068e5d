"""What is known of an event, in words: the same for `explain`, the catalog of the journal and the reference. Pure."""

from __future__ import annotations

from tlsrt.channels.client.event_line import event_line
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.events.event_fields import FIELDS
from tlsrt.supervisor.events.event_kinds import EventName

_AT_MS = 1_795_851_000_000  # 2026-11-28T07:30:00Z
_NUMBER = 42


def explanation(event: EventName) -> list[str]:
    """Return the paragraphs about an event that follow its name: what it means, its cause, and what to do."""
    return [f"{capital(event.sentence)}.", *advice(event.cause, event.remedy)]


def advice(cause: str, remedy: str) -> list[str]:
    """Return the paragraphs for a cause and a remedy."""
    return [f"Cause: {cause}.", f"What to do: {remedy}."]


def fields_lines(event: EventName) -> list[str]:
    """Return a line for each field that an event may have."""
    return [f"{name}: {FIELDS[name]}" for name in event.example.fields]


def example_line(event: EventName) -> str:
    """Return a line as `events` shows it."""
    subject, words, fields = event.example
    made = HostEvent(_NUMBER, _AT_MS, 0, "", event, subject, words, fields)
    return event_line(made.document(), colour=False)


def capital(text: str) -> str:
    """Return a sentence with a great first letter."""
    return text[:1].upper() + text[1:]
