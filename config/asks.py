"""What a component asks for, as a table that an operator reads before a yes. Pure.

It is made of the file's own words, so that whatever can be asked for shows, also what this table does not know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The most dangerous first; what is not listed here comes before all of them, since it is not judged yet.
_RANKS = (
    "settings", "runtime", "runs", "programs", "also_runs", "executable_memory", "shared_memory", "devices", "write",
    "listen", "network", "sockets", "buses", "relay", "egress", "system calls", "alerts", "events", "sys", "proc",
    "read", "secrets", "calls",
)  # fmt: skip
_DANGEROUS = _RANKS.index("system calls")  # up to this one
_HARMLESS = (  # what it may use up of its own share, or of its own package: shown without a reason
    "memory_mb", "open_files", "file_size_mb", "processes", "threads", "disk_threads", "imports", "data", "page",
    "state_mb",
    "files", "environment", "scratch_mb",
)  # fmt: skip
_ONE = ("network", "sys", "proc")  # wishes of which there is one
_KNOWN = (  # that ask for nothing
    "class", "process", "health", "options", "needs", "kind", "run", "args", "notifies", "watchdog_s", "offers",
    "topics", "stop_signal", "stop_seconds",
)  # fmt: skip
_NAMES = {"calls": "system calls"}  # of needs; a manifest's own `calls` are those of other components
_UNITS = {"_mb": " MiB", "_s": " s"}
_SHOWN = 200  # characters of a file
NOTHING = "it asks for nothing but its own folder"


@dataclass(frozen=True, slots=True, order=True)
class Ask:
    """One thing that a component asks for; they sort with the most dangerous first."""

    rank: int
    kind: str
    what: str
    why: str

    @property
    def is_dangerous(self) -> bool:
        """Tell whether it reaches beyond the host's own runtime."""
        return self.rank <= _DANGEROUS

    def document(self) -> dict[str, object]:
        """Return it as plain values for json.dumps."""
        return {"kind": self.kind, "what": self.what, "why": self.why, "dangerous": self.is_dangerous}


def asks_of(tree: Mapping[str, Any], calls: Mapping[str, Sequence[str]], reasons: Mapping[str, str]) -> list[Ask]:
    """Return what a component asks for: its tree in a checked file, and what it calls of others, with the reasons."""
    found = [ask for key, value in (tree.get("needs") or {}).items() for ask in _asked(_NAMES.get(key, key), value)]
    found += [ask for key, value in tree.items() if key not in _KNOWN for ask in _asked(key, value)]
    found += _runs(tree)
    found += [
        _ask("calls", f"{target}: {', '.join(methods)}", reasons.get(target, "")) for target, methods in calls.items()
    ]
    return sorted(found)


def rows_of(asks: Sequence[Ask]) -> list[tuple[str, ...]]:
    """Return the rows of a table, with its title."""
    return [("", "ASKS FOR", "WHAT", "WHY"), *(("!" if one.is_dangerous else "", *_cells(one)) for one in asks)]


def differences(old: Sequence[Ask], new: Sequence[Ask]) -> list[tuple[str, ...]]:
    """Return the rows of what is asked for no longer, and of what is new; none if nothing differs."""
    gone = [("-", *_cells(one)) for one in old if one not in new]
    come = [("!" if one.is_dangerous else "+", *_cells(one)) for one in new if one not in old]
    return [("", "ASKS FOR", "WHAT", "WHY"), *gone, *come] if gone or come else []


def _cells(ask: Ask) -> tuple[str, str, str]:
    return ask.kind, ask.what, ask.why


def _runs(tree: Mapping[str, Any]) -> list[Ask]:
    """Return what a component that is a program runs."""
    if tree.get("kind") != "program":
        return []
    check = (tree.get("health") or {}).get("exec")
    programs = [(tree, "it is this program"), *([(check, "it looks whether it is well")] if check else [])]
    return [_ask("runs", " ".join([str(one["run"]), *(one.get("args") or ())]).strip(), why) for one, why in programs]


def _asked(kind: str, value: Any) -> list[Ask]:
    if kind in _ONE and isinstance(value, dict):
        return [_ask(kind, "yes", str(value.get("why", "")))] if value.get("shown", True) else []
    if isinstance(value, list):
        return [_entry(kind, one) for one in value]
    if isinstance(value, dict):
        return [_entry(kind, one, name) for name, one in value.items()]
    if value in (False, None):
        return []
    unit = next((unit for ending, unit in _UNITS.items() if kind.endswith(ending)), "")
    return [_ask(kind, "yes" if value is True else f"{value}{unit}", "")]


def _entry(kind: str, entry: Any, name: str = "") -> Ask:
    if kind == "files":
        entry = _shortened(str(entry))
    if not isinstance(entry, dict):
        return _ask(kind, f"{name}: {_words(entry)}" if name else _words(entry), "")
    values = [(key, one) for key, one in entry.items() if key != "why"]
    words = [_words(one) if number == 0 else f"{key} {_words(one)}" for number, (key, one) in enumerate(values)]
    return _ask(kind, f"{name}: {', '.join(words)}" if name else ", ".join(words), str(entry.get("why", "")))


def _shortened(content: str) -> str:
    """Return the beginning of a file, and what tells it from any other that would look the same in a table."""
    more = "..." if len(content) > _SHOWN else ""
    return f"{content[:_SHOWN]}{more} (SHA-256 {hashlib.sha256(content.encode()).hexdigest()[:32]})"


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_words(one) for one in value)
    if isinstance(value, dict):
        return " ".join(f"{key} {_words(one)}" for key, one in value.items())
    text = {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    return " ".join(text.split())  # a file's text has lines, and a cell of the table has none


def _ask(kind: str, what: str, why: str) -> Ask:
    if kind in _HARMLESS:
        return Ask(len(_RANKS), kind, what, why)
    return Ask(_RANKS.index(kind) if kind in _RANKS else -1, kind, what, why)
