"""What `top` shows as a screen: a row for each process, component and program, sorted and filtered. Pure.

Every cell is harmless: words of the host, of its components and of its programs are escaped and cut here. They are
ASCII, so that one character is one cell, whatever a program is called, and the same on every terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tlsrt.text import ascii_only, duration, size

# Title and width, with the gap before a number or behind a word; the name has what is left of the line.
COLUMNS = (
    ("NAME", 0), ("STATE", 10), ("PID", 8), ("MEMORY", 9), ("CPU %", 7), ("RST", 4), ("BEAT", 7), ("CALLS/S", 8),
)  # fmt: skip
WIDE = ("LATELY", 14)  # of what a line has beyond 80 columns: the processor of the last samples
WORDS = frozenset({"NAME", "STATE"})  # columns that stand left
NAME_LEAST = 20  # cells of a name before columns are left out for it
_LEAST = ("CALLS/S", "BEAT", "RST", "PID", "CPU %", "MEMORY")
ORDERS = ("name", "memory", "processor", "restarts", "frames")
SUPERVISOR = "supervisor"
_NAME_MOST, _STATE_MOST = 120, 9
_FINE = frozenset({"active", "good", "unchecked", "idle"})


class Row(NamedTuple):
    """One line of the screen; `loop` is what it runs in, for its log and to stop and start it."""

    key: str
    loop: str
    cells: tuple[str, ...]
    is_fine: bool
    numbers: Mapping[str, float]
    below: tuple[Row, ...] = ()
    subject: str = ""  # what `status SUBJECT` takes

    @property
    def services(self) -> tuple[str, ...]:
        """The addresses of its components, which may keep a history."""
        components = [one for one in (self, *self.below) if one.key.startswith("component ")]
        return tuple(one.subject for one in components)


def rows_of(status: Mapping[str, Any]) -> list[Row]:
    """Return a row for each process of a host, with its components and programs below it."""
    supervisor = {**status["supervisor"], "state": "stopping" if status["supervisor"]["stopping"] else "active"}
    return [
        _process(SUPERVISOR, supervisor),
        _process("authority", status["authority"]),
        *(_process(str(loop["name"]), loop) for loop in status["loops"]),
    ]


def arranged(rows: Iterable[Row], order: str, wanted: str) -> list[Row]:
    """Return the rows to show: processes in an order, the largest first, and below each what it runs.

    With `wanted`, only rows that have it in their name or state, and the process of each.
    """
    found = list(rows)
    if order != ORDERS[0]:
        found.sort(key=lambda row: -row.numbers.get(order, 0.0))
    shown = list[Row]()
    for row in found:
        below = [one for one in row.below if _matches(one, wanted)]
        if _matches(row, wanted):
            below = list(row.below) if _matches_name(row, wanted) else below
        elif not below:
            continue
        shown += [row, *below]
    return shown


def columns_for(width: int) -> list[tuple[int, str, int]]:
    """Return number, title and width of the columns for a screen; a narrow one leaves out what matters least."""
    shown = [(at, *column) for at, column in enumerate((*COLUMNS, WIDE) if width >= 78 + WIDE[1] else COLUMNS)]
    for least in _LEAST:
        if width - sum(each for _, _, each in shown) >= NAME_LEAST:
            break
        shown = [column for column in shown if column[1] != least]
    rest = width - sum(each for _, _, each in shown)
    return [(at, title, each or max(1, rest)) for at, title, each in shown]


def fitted(text: str, width: int) -> str:
    """Return a cell of at most that width, with a mark where it was cut. It is ASCII."""
    return text if len(text) <= width else (text[: max(0, width - 1)] + "~")[:width]


def _matches(row: Row, wanted: str) -> bool:
    return _matches_name(row, wanted) or wanted.lower() in row.cells[1].lower()


def _matches_name(row: Row, wanted: str) -> bool:
    return wanted.lower() in row.cells[0].lower()


def _process(name: str, entry: Mapping[str, Any]) -> Row:
    usage = entry.get("usage") or {}
    memory_kib, restarts, age_s = entry.get("memory_kib"), entry.get("restarts"), entry.get("beat_age_s")
    if memory_kib is None and usage:
        memory_kib = usage.get("memory_kib")
    calls = usage.get("frames_in_s") if "frames" in entry else None
    processor = usage.get("cpu_percent")
    state = str(entry["state"])
    health = str(entry.get("health") or "good")
    word = health if state == "active" and health not in _FINE else state
    cells = (
        name, word, _number(entry["pid"]), _bytes(memory_kib),
        f"{processor:.1f}" if processor is not None else "-", _number(restarts),
        duration(age_s) if age_s is not None else "-", f"{calls:.0f}" if calls is not None else "-",
    )  # fmt: skip
    refused = (entry.get("frames") or {}).get("refused")
    numbers = {
        "memory": None if memory_kib is None else memory_kib * 1024, "processor": processor, "restarts": restarts,
        "frames": calls, "refused total": refused, "lateness": entry.get("lateness_ms"),
    }  # fmt: skip
    below = [_component(name, one) for one in entry.get("components", ())]
    below += [_program(name, one) for one in entry.get("programs", ())]
    found = {key: float(one) for key, one in numbers.items() if one is not None}
    return _row(f"process {name}", name, cells, name, found, tuple(below))


def _component(loop: str, one: Mapping[str, Any]) -> Row:
    state = "not ready" if one["ready"] is False else str(one["health"])
    age_s = one.get("checked_s")
    age = duration(age_s) if age_s is not None else "-"  # its beat is its check
    cells = (f"  {one['name']}", state, "", "", "", _number(one["task_restarts"]), age, "")
    return _row(f"component {loop}/{one['name']}", loop, cells, f"{loop.partition('.')[0]}/{one['name']}")


def _program(loop: str, one: Mapping[str, Any]) -> Row:
    running: Sequence[Mapping[str, Any]] = one.get("running", ())
    state = "down" if one["is_down"] else "active" if running else "idle"
    memory_kib = sum(run["memory_kib"] or 0 for run in running) if running else None
    again = max(0, int(one.get("begun") or 0) - len(running))
    more = f" x{len(running)}" if len(running) > 1 else ""
    pid = _number(running[0]["pid"]) if running else "-"
    cells = (f"  {one['name']}{more}", state, pid, _bytes(memory_kib), "", str(again), "", "")
    return _row(f"program {loop}/{one['name']}", loop, cells, loop)


def _row(
    key: str,
    loop: str,
    cells: Sequence[str],
    subject: str,
    numbers: Mapping[str, float] | None = None,
    below: tuple[Row, ...] = (),
) -> Row:
    name, state, *rest = cells
    shown = (ascii_only(name, _NAME_MOST), ascii_only(state, _STATE_MOST), *(ascii_only(cell) for cell in rest))
    return Row(key, loop, shown, state in _FINE, numbers or {}, below, subject)


def _number(value: object) -> str:
    return "-" if value is None else str(value)


def _bytes(kib: float | None) -> str:
    return size(kib * 1024) if kib is not None else "-"
