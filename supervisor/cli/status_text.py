"""The table that people read, of a status document. Pure; it needs nothing of what the supervisor is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsrt.supervisor.control.audit_report import audit_lines
from tlsrt.supervisor.control.lock_report import lock_lines
from tlsrt.text import duration, size, table

Document = dict[str, Any]
_COLUMNS = (
    "LOOP", "STATE", "PID", "UPTIME", "RESTARTS", "SESSIONS", "IN", "OUT", "REFUSED", "LATE", "PHI", "MEMORY",
    "SANDBOX", "PROFILE", "EPOCH",
)  # fmt: skip
_RIGHT = frozenset(_COLUMNS) - {"LOOP", "STATE", "SANDBOX", "PROFILE"}
_DIGEST_SHOWN = 8  # hex digits


def status_text(status: Document) -> str:
    """Return the status as people read it, without a last newline."""
    authority = status["authority"]
    nothing: Document = {"sessions": None, "frames": {"in": None, "out": None, "refused": None}}
    rows = [_COLUMNS, _row("authority", {**authority, **nothing})]
    rows += [_row(loop["name"], loop) for loop in status["loops"]]
    return "\n".join([header(status), "", *table(rows, _RIGHT), "", *remarks(status)])


def remarks(status: Document) -> list[str]:
    """Return what is to be said below a table: the boundary, deaths, violations, whoever is unwell, warnings."""
    authority = status["authority"]
    lines = [*lock_lines(status["lock"]), _boundary(status["boundary"])]
    if authority["unwritten"]:
        lines += [f"{authority['unwritten']}: what was revoked since then does not survive a restart"]
    lines += audit_lines(status["audit"])
    if keys := _keys(status["keys"]):
        lines.append(keys)
    if status["supervision"]:
        lines += supervision_lines(status["supervision"])
    if status["quarantined"]:
        lines += [f"in quarantine: {', '.join(status['quarantined'])}; `tlsrt-supervisor quarantine list` says why"]
    if status["limits"]:
        lines += [f"limits: {status['limits']}"]
    deaths = [(entry["name"], entry["last_death"]["sentence"]) for entry in status["loops"] if entry["last_death"]]
    if authority["last_death"]:
        deaths.insert(0, ("authority", authority["last_death"]["sentence"]))
    lines += _stuck_lines([{**authority, "name": "authority"}, *status["loops"]])
    lines += _unwell(status["loops"])
    offenders = [entry for entry in status["loops"] if entry["violations"]]
    if offenders:
        lines += ["", *(_offence(entry) for entry in offenders)]
    if deaths:
        lines += ["", *(f"last death of {name}: {reason}" for name, reason in deaths)]
    if status["warnings"]:
        lines += ["", *(f"warning: {warning}" for warning in status["warnings"])]
    return lines


def _stuck_lines(entries: Sequence[Document]) -> list[str]:
    """Return a line for each process that was killed and is there still."""
    found = [(entry["name"], entry["stuck"]["where"], entry["stuck"]["for_s"]) for entry in entries if entry["stuck"]]
    lines = [
        f"{name} is stuck in the kernel ({where}): killed {duration(for_s)} ago, started again as soon as it is gone"
        for name, where, for_s in found
    ]
    return ["", *lines] if lines else []


def _unwell(loops: Sequence[Document]) -> list[str]:
    """Return a line for each component whose last check was not good."""
    found = [(loop["name"], one) for loop in loops for one in loop["components"] if one["fails"]]
    lines = [f"{loop}/{one['name']} is {one['health']}: {_fails(one)}, see the log of {loop}" for loop, one in found]
    return ["", *lines] if lines else []


def _fails(one: Document) -> str:
    times = f"{one['fails']} check{'s' if one['fails'] > 1 else ''} in a row failed"
    return times if one["then"] == "none" else f"{times}, after {one['after']} its loop is started again"


def _boundary(boundary: Document) -> str:
    if boundary["changing"]:
        return f"epoch {boundary['epoch']}: a change of profiles is under way"
    if not boundary["equal"]:
        return f"epoch {boundary['epoch']}, not yet in every loop: {', '.join(boundary['behind'])}"
    return f"epoch {boundary['epoch']} in every loop, under the profiles of the configuration"


def _keys(keys: Document) -> str:
    version, seconds = keys["key_version"], keys["previous_verifies_s"]
    if not version:
        return ""
    before = f"; tokens of version {version - 1} verify for {duration(seconds)} more" if seconds else ""
    return f"master_key version {version}{before}"


def _offence(entry: Document) -> str:
    times = f"{entry['violations']} violation{'s' if entry['violations'] > 1 else ''}"
    return f"{times} of {entry['name']}, anomaly score {entry['anomaly']}, the last: {entry['last_violation']}"


def header(status: Document) -> str:
    """Return the line above a table."""
    supervisor, door = status["supervisor"], status["door"]
    host = f"[{door['host']}]" if ":" in door["host"] else door["host"]
    words = [f"tlsrt  pid {supervisor['pid']}", f"up {duration(supervisor['uptime_s'])}"]
    words.append(f"door tls://{host}:{door['port']}{' (locked)' if door['locked'] else ''}")
    if supervisor["rootless"]:
        words.append("rootless")
    if supervisor["stopping"]:
        words.append("stopping")
    return ", ".join(words)


def _row(name: str, entry: Document) -> tuple[str, ...]:
    frames, sandbox = entry["frames"], entry["sandbox"]
    waived = len(sandbox["waived"])
    layers = f"{len(sandbox['layers'])} layers" + (f", {waived} waived" if waived else "")
    late, memory = entry["lateness_ms"], entry["memory_kib"]
    return (
        name,
        entry["state"],
        cell(entry["pid"]),
        duration(entry["uptime_s"]) if entry["uptime_s"] is not None else "-",
        cell(entry["restarts"]),
        cell(entry["sessions"]),
        cell(frames["in"]),
        cell(frames["out"]),
        cell(frames["refused"]),
        f"{late:.1f} ms" if late is not None else "-",
        f"{entry['phi']:.1f}" if entry["phi"] is not None else "-",
        size(memory * 1024) if memory is not None else "-",
        layers,
        sandbox["profile"][:_DIGEST_SHOWN] or "-",
        cell(entry["epoch"]),
    )


def cell(value: object) -> str:
    """Return what stands in a cell for a value; a dash for what is not known."""
    return "-" if value is None else str(value)


def supervision_lines(document: Mapping[str, Any]) -> list[str]:
    """Return a line for every group that is degraded, and for every loop that waits; none where all is well."""
    found = []
    for group in document["groups"]:
        if group["state"] == "degraded":
            of = "" if group["loops"] == group["down"] == [group["name"]] else f" of group {group['name']}"
            again = f"`tlsrt-supervisor restart {group['down'][0]}` tries again"
            found.append(f"degraded: {', '.join(group['down'])}{of} stays down: {group['why']}; {again}")
    for loop, others in document["waiting"].items():
        found.append(f"{loop} waits for {', '.join(others) or 'what it depends on'}")
    return found
