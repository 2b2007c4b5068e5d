"""`tlsrt-supervisor sessions`, `revoke` and `restore`."""

from __future__ import annotations

import argparse

from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.errors import InvalidArgument
from tlsrt.supervisor.messages.result_codes import LONGEST_MS, ROWS_MAX
from tlsrt.text import duration, parse_duration, printable

ID_SHOWN = 8  # hex digits of an id
PERSISTED = "persisted"
_NOT_PERSISTED = (
    "in force, but not persisted: it does not survive a restart; tlsrt tries again, and `status` says why it cannot"
)
_COLUMNS = ("SESSION", "SUBJECT", "HELD BY", "STATE", "AGE", "TOKEN ENDS IN", "ENDS IN", "RENEWED", "TIMES")
_RIGHT = frozenset(_COLUMNS[4:])
_LEAST = ("TIMES", "RENEWED", "TOKEN ENDS IN", "AGE")  # the first goes first where the terminal is narrow


def session_lines(answer: Document) -> list[str]:
    """Return the table of sessions, and below it what is revoked."""
    lines = fitted_table([_COLUMNS, *(_row(session) for session in answer["sessions"])], _RIGHT, least=_LEAST)
    lines += [f"revoked: {printable(entry['subject'])}, {_how_long(entry['for_ms'])}" for entry in answer["revoked"]]
    return [*lines, *([f"not persisted: {answer['unwritten']}"] if answer["unwritten"] else [])]


def revoke_fields(arguments: argparse.Namespace) -> Document:
    """Return what is asked for. Raises InvalidArgument."""
    kind, what, span = arguments.kind, arguments.what, arguments.duration
    if arguments.all:
        if kind is not None or span is not None:
            raise InvalidArgument("revoke --all takes nothing else: it ends every session, and blocks no subject")
        return {"kind": "all", "what": "", "for_ms": 0}
    if kind is None or what is None:
        raise InvalidArgument(
            "say what to revoke: session ID, token ID, component LOOP/NAME, client NAME, loop NAME, or --all"
        )
    if kind not in ("session", "token"):
        return {"kind": kind, "what": what, "for_ms": 0 if span is None else duration_ms(span)}
    if span is not None:
        raise InvalidArgument(f"a {kind} ends for good: --for is for a component, a client or a loop")
    return {"kind": kind, "what": what.lower(), "for_ms": 0}


def duration_ms(text: str) -> int:
    """Return ms of "90s", "15m", "2h" or "7d", at most ten years. Raises InvalidArgument."""
    try:
        return round(parse_duration(text, most_s=LONGEST_MS / 1000) * 1000)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None


def revoked_lines(answer: Document) -> list[str]:
    """Return what a revocation did: subjects, sessions, epoch, and whether it is persisted."""
    lines = [
        f"revoked {printable(entry['subject'])}, {_how_long(entry['for_ms'] or None)}" for entry in answer["subjects"]
    ]
    return [*lines, *closed_lines(answer)]


def closed_lines(answer: Document) -> list[str]:
    """Return which sessions were closed, and whether the change is persisted."""
    lines = [
        f"session closed: {session['id'][:ID_SHOWN]} of {printable(session['subject'])}" for session in answer["ended"]
    ]
    if answer["count"] > len(answer["ended"]):
        lines.append(f"{answer['count'] - ROWS_MAX} more sessions closed")
    if answer["count"] == 0:
        lines.append("no session was open")
    if answer["epoch"] is not None:
        lines.append(f"epoch {answer['epoch']}")
    if "unrecorded" in answer:
        lines.append(f"done, but not recorded in the audit log: {printable(answer['unrecorded'])}")
    return [*lines, *([PERSISTED] if answer["stored"] else [])]


def not_persisted(answer: Document) -> list[str] | None:
    return None if answer["stored"] else [_NOT_PERSISTED]


def restored_lines(answer: Document) -> list[str]:
    return [*(f"restored {printable(entry['subject'])}" for entry in answer["subjects"]), PERSISTED]


def _row(session: Document) -> tuple[str, ...]:
    return (
        session["id"][:ID_SHOWN], session["subject"], session["address"] or session["holder"],
        session["state"],
        _span(session["age_ms"]), _span(session["token_expires_in_ms"]), _span(session["ends_in_ms"]),
        f"{_span(session['renewed_ms_ago'])} ago" if session["renewals"] else "-", str(session["renewals"]),
    )  # fmt: skip


def _span(milliseconds: int) -> str:
    return duration(milliseconds / 1000)


def _how_long(for_ms: int | None) -> str:
    return "until restored" if for_ms is None else f"for {_span(for_ms)}"
