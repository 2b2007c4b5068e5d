"""The answer of the authority to `anomalies`, as a document. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Document = dict[str, Any]
_FIELDS = {
    "score": ("kind", "value", "subject", "score"),
    "step": ("step", "kind", "value", "detector", "what", "left_ms", "observed"),
    "detector": ("name", "mode", "points", "found", "counted", "about"),
}


def anomalies_of(rows: Iterable[Sequence[Any]]) -> Document:
    """Return the document of `anomalies`."""
    document: Document = {"mode": "", "scores": [], "steps": [], "detectors": []}
    for tag, *fields in rows:
        if tag == "mode":
            document["mode"] = fields[0]
        elif tag in _FIELDS:
            document[f"{tag}s"].append(dict(zip(_FIELDS[tag], fields, strict=False)))
    return document
