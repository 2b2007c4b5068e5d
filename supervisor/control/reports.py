"""The answers of the authority to requests of operators, as documents of plain values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tlsrt.supervisor.messages.result_codes import ResultCode

Document = dict[str, Any]
_SESSION_FIELDS = (
    "id", "subject", "holder", "state", "age_ms", "token_expires_in_ms", "ends_in_ms", "renewed_ms_ago", "renewals",
    "token_id", "certificate", "address",
)  # fmt: skip


def sessions_document(rows: Iterable[Sequence[Any]], unwritten: str) -> Document:
    """Return the document of `sessions`."""
    sessions = [dict(zip(_SESSION_FIELDS, row[1:], strict=True)) for row in rows if row[0] == "session"]
    revoked = [
        {"subject": row[1], "for_ms": None if row[3] else row[2]} for row in rows if row[0] == "revoked"
    ]  # fmt: skip
    sessions.sort(key=lambda session: (session["holder"] == "client", session["subject"], session["id"]))
    return {"sessions": sessions, "revoked": revoked, "unwritten": unwritten}


def change_document(code: int, rows: list[Any]) -> Document:
    """Return the document of `revoke` or `restore`."""
    if code in (ResultCode.REFUSED, ResultCode.UNCHANGED):
        return {"refused" if code == ResultCode.REFUSED else "unavailable": [str(sentence) for sentence in rows]}
    document: Document = {"stored": code == ResultCode.DONE, "ended": [], "subjects": [], "count": 0, "epoch": None}
    for tag, *fields in rows:
        if tag == "session":
            document["ended"].append(dict(zip(_SESSION_FIELDS, fields, strict=False)))
        elif tag == "subject":
            document["subjects"].append({"subject": fields[0], "for_ms": fields[1]})
        else:
            document[tag] = fields[0]
    return document


_ANOMALY_FIELDS = {
    "score": ("kind", "value", "subject", "score"),
    "step": ("step", "kind", "value", "detector", "what", "left_ms", "observed"),
    "detector": ("name", "mode", "points", "found", "counted", "about"),
}


def anomalies_document(rows: Iterable[Sequence[Any]]) -> Document:
    """Return the document of `anomalies`."""
    document: Document = {"mode": "", "scores": [], "steps": [], "detectors": []}
    for tag, *fields in rows:
        if tag == "mode":
            document["mode"] = fields[0]
        elif tag in _ANOMALY_FIELDS:
            document[f"{tag}s"].append(dict(zip(_ANOMALY_FIELDS[tag], fields, strict=False)))
    return document


def client_document(code: int, rows: list[Any]) -> Document:
    """Return the answer to a request about clients, with bytes as hex."""
    if code in (ResultCode.REFUSED, ResultCode.UNCHANGED):
        return {"refused" if code == ResultCode.REFUSED else "unavailable": [str(sentence) for sentence in rows]}
    return {"rows": _as_json(rows)}


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [_as_json(item) for item in value] if isinstance(value, list) else value
