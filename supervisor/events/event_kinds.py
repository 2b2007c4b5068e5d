"""Kinds and severities of events, and what the catalog says of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

_NAMESPACE = bytes.fromhex("6c4e9a3e5b0f4d539f0c2b7d1f6a8e40")  # of tlsrt's events, for ever


class EventKind(StrEnum):
    """What an event is about."""

    LIFECYCLE = "lifecycle"
    SESSION = "session"
    SECURITY = "security"
    HEALTH = "health"
    PROGRAM = "program"


class Severity(StrEnum):
    """Whether an operator should look."""

    INFO = "info"
    WARNING = "warning"  # something went wrong and is being dealt with
    ALARM = "alarm"  # something stays wrong, or there was an attempt at what is forbidden


class Example(NamedTuple):
    """What one event of a name may say: to whom it happened, the words behind its sentence, and all of its fields."""

    subject: str
    words: str
    fields: Mapping[str, str | int | float | bool | None]


def example(subject: str, words: str = "", /, **fields: str | int | float | bool | None) -> Example:
    """Return an example with these fields."""
    return Example(subject, words, fields)


Row = tuple[str, Severity, str, str, str, Example]


class EventName(NamedTuple):
    """One entry of the catalog. An event that asks for nothing has a remedy too: what to look at all the same."""

    name: str
    kind: EventKind
    severity: Severity
    sentence: str
    cause: str
    remedy: str
    example: Example

    @property
    def message_id(self) -> str:
        """Return the MESSAGE_ID of this event in the journal: a UUID of version 5 (RFC 9562) of its name, in hex."""
        made = bytearray(hashlib.sha1(_NAMESPACE + self.name.encode(), usedforsecurity=False).digest()[:16])
        made[6], made[8] = (made[6] & 0x0F) | 0x50, (made[8] & 0x3F) | 0x80
        return made.hex()
