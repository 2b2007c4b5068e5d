"""What the authority answers to `sessions`, `revoke` and `restore`: as documents, and as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tlsrt.errors import EX_UNAVAILABLE, EX_USAGE
from tlsrt.supervisor.cli.output import say
from tlsrt.supervisor.messages.result_codes import ROWS_MAX, ResultCode
from tlsrt.text import duration, printable, table

Document = dict[str, Any]
ID_SHOWN = 8  # hex digits of an id
_FIELDS = (
    "id", "subject", "holder", "state", "age_ms", "token_expires_in_ms", "ends_in_ms", "renewed_ms_ago", "renewals",
    "token_id", "certificate", "address",
)  # fmt: skip
_COLUMNS = ("SESSION", "SUBJECT", "HELD BY", "STATE", "AGE", "TOKEN ENDS IN", "ENDS IN", "RENEWED", "TIMES")
_RIGHT = frozenset(_COLUMNS[4:])


def failure(answer: Document) -> int:
    """Say why a request failed, and return the exit code; 0 and nothing said if it did not."""
    for key, code in (("refused", EX_USAGE), ("unavailable", EX_UNAVAILABLE)):
        if key in answer:
            say(*answer[key])
            return code
    return 0


def sessions_of(rows: Iterable[Sequence[Any]], unwritten: str) -> Document:
    """Return the document of `sessions`."""
    sessions = [dict(zip(_FIELDS, row[1:], strict=True)) for row in rows if row[0] == "session"]
    revoked = [
        {"subject": row[1], "for_ms": None if row[3] else row[2]} for row in rows if row[0] == "revoked"
    ]  # fmt: skip
    sessions.sort(key=lambda session: (session["holder"] == "client", session["subject"], session["id"]))
    return {"sessions": sessions, "revoked": revoked, "unwritten": unwritten}


def report_of(code: int, rows: list[Any]) -> Document:
    """Return the document of `revoke` or `restore`."""
    if code in (ResultCode.REFUSED, ResultCode.UNCHANGED):
        return {"refused" if code == ResultCode.REFUSED else "unavailable": [str(sentence) for sentence in rows]}
    document: Document = {"stored": code == ResultCode.DONE, "ended": [], "subjects": [], "count": 0, "epoch": None}
    for tag, *fields in rows:
        if tag == "session":
            document["ended"].append(dict(zip(_FIELDS, fields, strict=False)))
        elif tag == "subject":
            document["subjects"].append({"subject": fields[0], "for_ms": fields[1]})
        else:
            document[tag] = fields[0]
    return document


def sessions_text(document: Document) -> str:
    """Return the sessions as people read them, without a last newline."""
    rows = [_COLUMNS, *(_row(session) for session in document["sessions"])]
    lines = table(rows, _RIGHT)
    for entry in document["revoked"]:
        lines += [f"revoked: {printable(entry['subject'])}, {_how_long(entry['for_ms'])}"]
    if document["unwritten"]:
        lines += [f"not on the disk: {document['unwritten']}"]
    return "\n".join(lines)


def revoked_lines(report: Document) -> list[str]:
    """Return what `revoke` did, one line each."""
    lines = [
        f"revoked {printable(entry['subject'])}, {_how_long(entry['for_ms'] or None)}" for entry in report["subjects"]
    ]
    for session in report["ended"]:
        lines.append(f"ended session {session['id'][:ID_SHOWN]} of {printable(session['subject'])}")
    if report["count"] > len(report["ended"]):
        lines.append(f"ended {report['count'] - ROWS_MAX} more sessions")
    if report["count"] == 0:
        lines.append("no session was open")
    if report["epoch"] is not None:
        lines.append(f"epoch {report['epoch']}")
    if "unrecorded" in report:
        lines.append(f"it was done, but it is not in the audit log: {printable(report['unrecorded'])}")
    return [*lines, *(["it is on the disk"] if report["stored"] else [])]


def restored_lines(report: Document) -> list[str]:
    """Return whom `restore` let in again, one line each."""
    return [*(f"restored {printable(entry['subject'])}" for entry in report["subjects"]), "it is on the disk"]


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
    return "until it is restored" if for_ms is None else f"for {_span(for_ms)}"
