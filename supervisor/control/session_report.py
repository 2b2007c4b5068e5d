"""The answers of the authority to `sessions`, `revoke` and `restore`, as documents. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tlsrt.supervisor.messages.result_codes import ResultCode

Document = dict[str, Any]
_FIELDS = (
    "id", "subject", "holder", "state", "age_ms", "token_expires_in_ms", "ends_in_ms", "renewed_ms_ago", "renewals",
    "token_id", "certificate", "address",
)  # fmt: skip


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
