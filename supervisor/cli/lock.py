"""`tlsrt-supervisor lock` and `unlock`."""

from __future__ import annotations

from tlsrt.command_line.table import Document
from tlsrt.supervisor.cli.exchange import say
from tlsrt.text import printable

_NOT_PERSISTED = "not persisted yet, so the lock would not survive a restart of this machine: make room on the disk"


def state_lines(lock: Document | None) -> list[str]:
    """Return the lock as `status` shows it; nothing if the host is not locked."""
    if lock is None:
        return []
    lines = [f"LOCKED by {printable(lock['by'])} since {lock['since']}: {printable(lock['reason'])}"]
    lines.append("no session is possible until `tlsrt-supervisor unlock`")
    return lines if lock["stored"] else [*lines, _NOT_PERSISTED]


def lock_lines(answer: Document) -> list[str]:
    return [*(["already locked"] if answer["already"] else []), *state_lines(answer["lock"])]


def lock_unmet(answer: Document) -> list[str] | None:
    """Say the notes; the lines say already that the lock is not persisted."""
    say(*answer.get("notes", []))
    return None if answer["lock"]["stored"] else []


def unlock_lines(answer: Document) -> list[str]:
    if not answer["serves"]:
        return []
    return [f"unlocked: epoch {answer['epoch']}, the door is open after {answer['took_ms'] / 1000:.2f} s"]


def unlock_unmet(answer: Document) -> list[str] | None:
    return None if answer["serves"] else ["unlocked, but Primary does not serve yet: see `status`"]
