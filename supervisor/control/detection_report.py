"""What the authority answers to `anomalies`: as a document, and as people read it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tlsrt.text import duration, printable, table

Document = dict[str, Any]
_FIELDS = {
    "score": ("kind", "value", "subject", "score"),
    "step": ("step", "kind", "value", "detector", "what", "left_ms", "observed"),
    "detector": ("name", "mode", "points", "found", "counted", "about"),
}
_COLUMNS = ("DETECTOR", "FOUND", "COUNTED", "POINTS", "WHAT")
ID_SHOWN = 8


def anomalies_of(rows: Iterable[Sequence[Any]]) -> Document:
    """Return the document of `anomalies`."""
    document: Document = {"mode": "", "scores": [], "steps": [], "detectors": []}
    for tag, *fields in rows:
        if tag == "mode":
            document["mode"] = fields[0]
        elif tag in _FIELDS:
            document[f"{tag}s"].append(dict(zip(_FIELDS[tag], fields, strict=False)))
    return document


def anomaly_lines(document: Document) -> list[str]:
    """Return what people read: who has points, what is done, and what was found."""
    lines = [] if document["mode"] == "act" else [f"mode {document['mode']}: nothing is done", ""]
    if document["scores"]:
        scores = [(f"{one['score']:.0f}", _who(one)) for one in document["scores"]]
        lines += table([("SCORE", "CHARGED"), *scores], right={"SCORE"})
    else:
        lines.append("nobody has points")
    if document["steps"]:
        lines += ["", *step_lines(document["steps"])]
    found = [one for one in document["detectors"] if one["found"]]
    if found:
        lines += ["", *table([_COLUMNS, *map(_detector_row, found)], right={"FOUND", "COUNTED", "POINTS"})]
    return lines


def _detector_row(one: Document) -> tuple[str, ...]:
    mode = "" if one["mode"] == "act" else f" ({one['mode']})"
    return one["name"], str(one["found"]), str(one["counted"]), str(one["points"]), f"{one['about']}{mode}"


def step_lines(steps: Iterable[Document]) -> list[str]:
    """Return a line for each step in force."""
    return [
        f"{one['step']:<10}  {_who(one)}: {one['detector']}, {printable(one['what'])}; "
        f"{duration(one['left_ms'] / 1000)} more{' (observed only)' if one['observed'] else ''}"
        for one in steps
    ]


def _who(one: Document) -> str:
    subject = one.get("subject", "")
    value = printable(one["value"])
    if one["kind"] == "session" and len(value) == 32:
        return f"session {value[:ID_SHOWN]}" + (f" of {subject}" if subject else "")
    return value if one["kind"] == "session" else f"{one['kind']} {value}"
