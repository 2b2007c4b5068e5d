"""The processes of a host as a table, and in one line whether all is well. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.text import duration, size

COLUMNS = (
    "LOOP", "STATE", "PID", "UPTIME", "RESTARTS", "SESSIONS", "IN", "OUT", "REFUSED", "LATE", "PHI", "MEMORY",
    "SANDBOX", "PROFILE", "EPOCH",
)  # fmt: skip
SHORT = ("LOOP", "STATE", "PID", "UPTIME", "RESTARTS", "SESSIONS", "MEMORY", "HEALTH")  # within 80 columns
_LEAST = ("SESSIONS", "PID")
_SHOWN = 4  # processes that are named in one line
_RIGHT = frozenset(COLUMNS) - {"LOOP", "STATE", "SANDBOX", "PROFILE"}
_DIGEST_SHOWN = 8  # hex digits


def process_table(status: Document, columns: Sequence[str]) -> list[str]:
    """Return a row for the authority and each process, with these columns."""
    authority = status["authority"]
    nothing: Document = {"sessions": None, "frames": {"in": None, "out": None, "refused": None}}
    cells = [_row("authority", {**authority, **nothing}), *(_row(loop["name"], loop) for loop in status["loops"])]
    rows = [tuple(columns), *(tuple(row[column] for column in columns) for row in cells)]
    return fitted_table(rows, _RIGHT, least=_LEAST, cut="LOOP")


def summary(status: Document) -> str:
    """Return in one line whether all is well, and if not what is not."""
    entries = [{**status["authority"], "name": "authority"}, *status["loops"]]
    found = ["the host is locked"] if status["lock"] is not None else []
    found += [f"{one['name']} is {one['state']}" for one in entries if one["state"] != "active"]
    found += [
        f"{one['name']} is {word}"
        for one in entries
        if one["state"] == "active" and (word := _health(one)) not in ("good", "-")
    ]
    if not found:
        return f"all is well: {len(entries)} processes are active"
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"not all is well: {', '.join(found[:_SHOWN])}{more}"


def _health(entry: Mapping[str, Any]) -> str:
    """Return how a process is: its heartbeat, and if that is good the worst of its components."""
    word = entry["health"] or "-"
    if word != "good":
        return str(word)
    unwell = [one for one in entry.get("components", ()) if one["fails"]]
    unready = [one for one in entry.get("components", ()) if one["ready"] is False]
    return str(unwell[0]["health"]) if unwell else "not ready" if unready else "good"


def _row(name: str, entry: Document) -> dict[str, str]:
    """Return the cells of a process by their columns."""
    frames, sandbox = entry["frames"], entry["sandbox"]
    waived = len(sandbox["waived"])
    layers = f"{len(sandbox['layers'])} layers" + (f", {waived} waived" if waived else "")
    late, memory = entry["lateness_ms"], entry["memory_kib"]
    return {
        "LOOP": name,
        "STATE": entry["state"],
        "PID": cell(entry["pid"]),
        "UPTIME": duration(entry["uptime_s"]) if entry["uptime_s"] is not None else "-",
        "RESTARTS": cell(entry["restarts"]),
        "SESSIONS": cell(entry["sessions"]),
        "IN": cell(frames["in"]),
        "OUT": cell(frames["out"]),
        "REFUSED": cell(frames["refused"]),
        "LATE": f"{late:.1f} ms" if late is not None else "-",
        "PHI": f"{entry['phi']:.1f}" if entry["phi"] is not None else "-",
        "MEMORY": size(memory * 1024) if memory is not None else "-",
        "SANDBOX": layers,
        "PROFILE": sandbox["profile"][:_DIGEST_SHOWN] or "-",
        "EPOCH": cell(entry["epoch"]),
        "HEALTH": _health(entry),
    }


def cell(value: object) -> str:
    """Return what stands in a cell for a value; a dash for what is not known."""
    return "-" if value is None else str(value)
