"""The policy as a document: the lines of the configuration in force, for those who are granted the status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlsrt.config.access import PolicyRule

BYTES_MOST = 64 * 1024  # about, of what the lines take in JSON; the status that they go with has a bound as well


def policy_document(rules: Sequence[PolicyRule]) -> dict[str, Any]:
    """Return lines of who, whom and methods, and how many there was no room for."""
    lines: list[list[Any]] = []
    room = BYTES_MOST
    for rule in rules:
        room -= len(rule.source) + len(rule.target) + sum(len(method) + 3 for method in rule.methods) + 12
        if room < 0:
            break
        lines.append([rule.source, rule.target, [*rule.methods]])
    return {"lines": lines, "left_out": len(rules) - len(lines)}
