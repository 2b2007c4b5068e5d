"""`tlsrt-supervisor egress`: rules, use, budgets and denials of each process that reaches out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.text import printable

_MIB = 1 << 20
_COLUMNS = ("PROCESS", "TO", "OPEN", "MINUTE", "SENT TODAY", "RECEIVED TODAY", "ALL", "WHY")
_RIGHT = frozenset(_COLUMNS[2:7])
_LEAST = ("WHY", "ALL")


def egress_lines(answer: Document) -> list[str]:
    """Return a table of the entries of rules, and below it the last denials of each process."""
    rows = [_row(process["process"], entry) for process in answer["processes"] for entry in process["entries"]]
    if not rows:
        return ["no component has egress rules, so none reaches a host: see `egress` under `needs`"]
    lines = fitted_table([_COLUMNS, *rows], _RIGHT, least=_LEAST, cut="TO")
    for process in answer["processes"]:
        if process["denied"]:
            lines.append(f"{process['process']}: {process['denied']} connections refused, the last ones:")
            lines += [
                f"  {_moment(one['at'])}  {one['what']}  {printable(one['sentence'])}" for one in process["denials"]
            ]
    return [*lines, *([answer["problem"]] if answer["problem"] else [])]


def _row(process: str, entry: dict[str, Any]) -> tuple[str, ...]:
    budget = entry["budget"]
    is_udp_only = all("/udp" in rule for rule in entry["to"])
    sent, received = entry["sent_bytes_today"], entry["received_bytes_today"]
    return (
        process,
        ", ".join(entry["to"]),
        _of(entry["open"], budget["at_once"]),
        "-" if entry["minute"] is None else _of(entry["minute"], budget["per_minute"]),
        "-" if is_udp_only else _mib(sent, budget["sent_mb_per_day"]),
        "-" if is_udp_only else _mib(received, budget["received_mb_per_day"]),
        str(entry["connections"]),
        entry["why"],
    )


def _of(used: int, most: int | None) -> str:
    return f"{used} of {most}" if most else str(used)


def _mib(used: int, most: int | None) -> str:
    shown = f"{used / _MIB:.1f} MiB"
    return f"{shown} of {most}" if most else shown


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
