"""A notification as values: its severity, harmless text, and what a carrier is given to deliver. Pure.

What a sender says may hold any characters. Here all that could steer a terminal, reverse the order of a line or begin
another header becomes a mark, once and before it is kept; so every carrier and reader has the same harmless text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
State = Literal["open", "acknowledged", "withdrawn", "expired"]
TITLE, BODY, COMMENT, TAGS, TAG, KEY = 200, 4000, 500, 8, 32, 128  # characters, and number of tags
_MARK = "\ufffd"
_JOINER = "\u200d"  # within emoji


def level(severity: str) -> int:
    """Return the rank of a severity, 0 for info."""
    return SEVERITIES.index(severity)


def one_line(text: str) -> str:
    """Return text as one line: ends of lines and tabs are spaces, what else does not print is a mark."""
    return "".join(_shown(each, "") for each in " ".join(text.split())).strip()


def some_lines(text: str) -> str:
    """Return text with its lines and tabs; what else does not print is a mark."""
    return "".join(_shown(each, "\n\t") for each in text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _shown(character: str, kept: str) -> str:
    return character if character.isprintable() or character in kept or character == _JOINER else _MARK


@dataclass(frozen=True, slots=True)
class Draft:
    """What a sender wants people to know. Its texts are harmless; times are of the wall clock in ms."""

    sender: str
    title: str
    body: str
    severity: Severity
    topic: str
    tags: tuple[str, ...]
    key: str
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class Message:
    """One notification for one carrier. `delivery` is the same each time that it is tried, and of no other message."""

    delivery: str
    id: int
    title: str
    body: str
    severity: Severity
    topic: str
    tags: tuple[str, ...]
    sender: str
    sent_ms: int
    count: int
    reminder: int  # 0, and by escalation 1, 2, ...

    def told(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "delivery": self.delivery, "id": self.id, "title": self.title, "body": self.body,
            "severity": self.severity, "topic": self.topic, "tags": list(self.tags), "sender": self.sender,
            "sent_ms": self.sent_ms, "count": self.count, "reminder": self.reminder,
        }  # fmt: skip


class CarrierAwayError(Exception):
    """A carrier cannot deliver now; its text says why. The message is tried again."""


class UndeliverableError(Exception):
    """A carrier will never deliver this message; its text says why."""
