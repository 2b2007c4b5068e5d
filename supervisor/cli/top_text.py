"""The status with what every process uses, as `top` shows it. Pure: a document in, lines out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsrt.supervisor.cli.status_text import Document, cell, header, remarks
from tlsrt.text import duration, printable, size, table

_COLUMNS = (
    "PROCESS", "STATE", "PID", "UP", "RESTARTS", "CPU", "MEMORY", "WOKEN/S", "IN/S", "OUT/S", "LATE", "QUEUE",
    "SESSIONS", "HEALTH",
)  # fmt: skip
_RIGHT = frozenset(_COLUMNS) - {"PROCESS", "STATE", "HEALTH"}


def top_lines(status: Document) -> list[str]:
    """Return the whole picture, a line each, without anything that steers a terminal."""
    supervisor = {**status["supervisor"], "state": "stopping" if status["supervisor"]["stopping"] else "active"}
    rows = [_COLUMNS, _row("supervisor", supervisor), _row("authority", status["authority"])]
    rows += [_row(loop["name"], loop) for loop in status["loops"]]
    return [printable(line) for line in (header(status), "", *table(rows, _RIGHT), "", *remarks(status))]


def screen(lines: Sequence[str], columns: int, rows: int) -> str:
    """Return what redraws a terminal of that size from its upper left corner (ECMA-48: CUP, EL, ED)."""
    shown = [line[: max(1, columns)] for line in lines[: max(1, rows - 1)]]
    return "\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in shown) + "\x1b[J"


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    usage = entry.get("usage") or {}
    has_frames = "frames" in entry
    memory, late = entry.get("memory_kib"), entry.get("lateness_ms")
    return (
        name,
        str(entry["state"]),
        cell(entry["pid"]),
        duration(entry["uptime_s"]) if entry["uptime_s"] is not None else "-",
        cell(entry.get("restarts")),
        f"{usage['cpu_percent']:.1f} %" if usage else "-",
        size(memory * 1024) if memory is not None else "-",
        _rate(usage.get("woken_s")),
        _rate(usage.get("frames_in_s") if has_frames else None),
        _rate(usage.get("frames_out_s") if has_frames else None),
        f"{late:.1f} ms" if late is not None else "-",
        cell(entry.get("queue")),
        cell(entry.get("sessions")),
        cell(entry.get("health")),
    )


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
