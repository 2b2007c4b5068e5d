"""The report of a reload: as values, as a document, and as lines for people."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlsrt.supervisor.process.console import Console
from tlsrt.text import table

STOPPED = "stopped"  # the outcome of a loop that the operator keeps down
FAILED = "failed"
DIGEST_SHOWN = 12  # hex digits of a profile digest
COLUMNS = 80


@dataclass(frozen=True, slots=True)
class LoopReport:
    """One loop: its outcome, its profile now, what of it has changed, and its downtime."""

    name: str
    outcome: str  # "unchanged", "tightened live", "changed live", "restarted" or "failed"
    profile: str  # hex digest
    changed: tuple[str, ...] = ()
    took_ms: int | None = None
    reason: str = ""

    @property
    def has_failed(self) -> bool:
        return self.outcome == FAILED


def document(
    epoch: int, has_moved: bool, has_new_policy: bool, door: str, loops: Sequence[LoopReport],
    warnings: Sequence[str], settings: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return the answer of the control socket. `settings` are changed keys of the configuration that were taken."""
    entries = [
        {
            "name": loop.name,
            "outcome": loop.outcome,
            "profile": loop.profile,
            "changed": list(loop.changed),
            "took_ms": loop.took_ms,
            "reason": loop.reason,
        }
        for loop in loops
    ]
    return {
        "epoch": epoch,
        "moved": has_moved,
        "policy": "changed" if has_new_policy else "unchanged",
        "door": door or "unchanged",
        "settings": list(settings),
        "failed": any(loop.has_failed for loop in loops),
        "loops": entries,
        "warnings": list(warnings),
    }


def lines(answer: Mapping[str, Any]) -> list[str]:
    """Return the answer as people read it."""
    rows = [(loop["name"], _outcome(loop)) for loop in answer["loops"]]
    if answer["policy"] != "unchanged":
        rows.append(("policy", "changed"))
    if answer["door"] != "unchanged":
        rows.append(("door", f"changed  ({answer['door']})"))
    found = [*table(rows), *_settings(answer["settings"], "taken")]
    found += [f"warning: {warning}" for warning in answer["warnings"]]
    word = f"epoch {answer['epoch']}" if answer["epoch"] else "the epoch was not committed"
    if answer["moved"]:
        return [*found, word]
    if answer["settings"]:
        return [*found, f"{word}, as before: no process had to change"]
    return [*found, f"{word}, as before" + (": nothing has changed" if answer["door"] == "unchanged" else "")]


def _settings(names: Sequence[str], word: str) -> list[str]:
    """Return lines of at most 80 columns for changed keys of the configuration."""
    if not names:
        return []
    said = f"{word}: {', '.join(names)}"
    return textwrap.wrap(said, COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def tell(console: Console, name: str, answer: Mapping[str, Any]) -> None:
    """Say the answer. A process that failed and a warning have no event, so a console for a journal must take them."""
    failed = {index for index, loop in enumerate(answer["loops"]) if loop["outcome"] == FAILED}
    for index, line in enumerate(lines({**answer, "warnings": []})):
        if index in failed:
            console.warning(name, line)
        else:
            console.plain(name, "done", line)
    for warning in answer["warnings"]:
        console.warning(name, warning)


def _outcome(loop: Mapping[str, Any]) -> str:
    word = loop["outcome"]
    if loop["took_ms"] is not None:
        word = f"{word} in {loop['took_ms']} ms"
    details = [", ".join(loop["changed"]), loop["reason"]]
    said = "; ".join(detail for detail in details if detail)
    profile = f"profile {loop['profile'][:DIGEST_SHOWN]}" if loop["profile"] else ""
    return "  ".join(part for part in (word, f"({said})" if said else "", profile) if part)


def plan_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return the answer of a dry run as people read it."""
    rows = [(one["name"], _wanted(one)) for one in answer["processes"]]
    signs = (("added", "+"), ("removed", "-"), ("changed", "changed"))
    for what in ("components", "listeners", "policy"):
        rows += [(what, f"{sign} {name}") for word, sign in signs for name in answer[what][word]]
    rows += [("door", f"changed  ({', '.join(answer['door'])})")] if answer["door"] else []
    found = [*table(rows), *_settings(answer["settings"], "would be taken")]
    found += [f"warning: {warning}" for warning in answer["warnings"]]
    if answer["moves"]:
        return [*found, "a dry run: `tlsrt-supervisor reload` does this, with a new epoch; sessions go on"]
    if answer["settings"]:
        return [*found, "a dry run: `tlsrt-supervisor reload` does this, and no process has to change"]
    return [*found, "a dry run: a reload would change nothing but the door's files"]


def _wanted(process: Mapping[str, Any]) -> str:
    if process["outcome"] in ("unchanged", STOPPED):
        return str(process["outcome"])
    why = f"  ({', '.join(process['changed'])})" if process["changed"] else ""
    return f"would be {process['outcome']}{why}"
