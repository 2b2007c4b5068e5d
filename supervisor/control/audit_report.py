"""How the audit log stands, as people read it. Pure."""

from __future__ import annotations

from typing import Any

from tlsrt.text import printable, size

Document = dict[str, Any]


def audit_lines(audit: Document | None) -> list[str]:
    """Return what `status` says of it: one line if all is well, nothing if no authority has said it yet."""
    if audit is None:
        return []
    used = f"{size(audit['bytes'])} of {size(audit['keep_bytes'])}"
    head = audit["head"]
    signed = f"signed up to {head['sequence']} {head['age_s']:.0f} s ago" if head else "no signed head yet"
    lines = [f"audit log: file {audit['file']}, sequence {audit['sequence']}, {signed}, {used}"]
    if audit["dropped"]:
        lines.append(f"{audit['dropped']} records were dropped, for which there was no room: the log says how many")
    if audit["problem"]:
        lines.append(f"{printable(audit['problem'])}; until then nobody is let in, no reload is taken")
    return lines
