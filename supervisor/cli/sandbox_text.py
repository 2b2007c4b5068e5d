"""The effective profile of a process, and answers about it, as text for people. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tlsrt.sandbox.report.explain import Explanation, is_allowed

WIDTH = 118
_MIB = 1 << 20
_FILES = {
    "code": "readable until the seal",
    "data": "readable",
    "write": "writable",
    "mounts": "mounted, read-only",
}
_CALLS = {
    "allow": "allowed",
    "import": "allowed until the seal",
    "broker": "carried out by the supervisor after a look",
    "enosys": "answered as absent (ENOSYS)",
    "kill": "killed",
}


def profile_text(document: Mapping[str, Any]) -> str:
    """Return the text of a document of `sandbox.effective`."""
    identity = document["identity"]
    who = f"uid {identity['uid']}, gid {identity['gid']}, no other groups, no capabilities"
    if identity["rootless"]:
        who = f"rootless, uid {identity['uid']} of the user who starts it, no capabilities"
    namespaces = ", ".join(f"{name} {whose}" for name, whose in document["namespaces"].items())
    layers = [layer["layer"] for layer in document["layers"] if layer["state"] == "applied"]
    lines = [
        f"{document['process']}: {document['about']}",
        "",
        *_field("profile", document["digest"]),
        *_field("parts", " ".join(part["name"] for part in document["parts"])),
        *_field("identity", who),
        *_field("namespaces", namespaces),
        *_field("layers", " ".join(layers)),
    ]
    cpus, priority = document["scheduling"]["cpus"], document["scheduling"]["real_time_priority"]
    if cpus:
        lines += _field("processors", " ".join(map(str, cpus)))
    if priority:
        lines += _field("real time", f"SCHED_RR with priority {priority}, before every ordinary process")
    for layer in document["layers"]:
        if layer["state"] != "applied":
            lines += _field(layer["state"], f"{layer['layer']}: {layer['why']}")
    return "\n".join([*lines, *_files(document), *_network(document), *_limits(document), *_calls(document)])


def _field(name: str, text: str) -> list[str]:
    return _wrapped(text, f"{name:<12}", 12)


def _wrapped(text: str, first: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _entry(subject: str, why: str, part: str) -> list[str]:
    """A line for what, and one for why and where it stands."""
    return [*_wrapped(subject, "  ", 4), *_wrapped(f"{part}: {why}", "      ", 6)]


def _joined(entries: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Return (part, why) -> the paths of that line."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        path = f"{entry['path']} = {entry['host']} of the host" if "host" in entry else entry["path"]
        found.setdefault((entry["part"], entry["why"]), []).append(
            f"{path} (not on this host)" if entry.get("absent") else path
        )
    return found


def _files(document: Mapping[str, Any]) -> list[str]:
    lines = ["", "FILES: what the root shows; nothing else is there"]
    for kind, title in _FILES.items():
        entries = [entry for entry in document["files"] if entry["kind"] == kind]
        if entries:
            lines.append(f" {title}")
        for (part, why), paths in _joined(entries).items():
            lines += _entry(" ".join(paths), why, part)
    return lines


def _network(document: Mapping[str, Any]) -> list[str]:
    if document["namespaces"]["net"] == "its own":
        return ["", "NETWORK: none; its network namespace is empty"]
    lines = ["", "NETWORK: the host's network namespace"]
    for line in document["network"]:
        lines += _wrapped(f"{line['part']}: {line['why']}", "      ", 6)
    lines.append(" egress" if document["egress"] else " egress: no rule, so no host can be reached")
    for rule in document["egress"]:
        lines += _entry(rule["rule"], rule["why"], rule["part"])
    ports = document["tcp_connect_ports"]
    listed = "any: too many to list" if ports is None else " ".join(map(str, ports)) or "none"
    lines.append(f" TCP ports that Landlock lets it connect to: {listed}; to bind: none")
    return lines


def _limits(document: Mapping[str, Any]) -> list[str]:
    lines = ["", "LIMITS: setrlimit(2), soft and hard"]
    for limit in document["limits"]:
        value = limit["value"]
        amount = f"{value // _MIB} MiB" if value and value % _MIB == 0 else str(value)
        lines += _wrapped(f"{limit['part']}: {limit['why']}", f"  {limit['limit']:<9}{amount:<10}", 21)
    return lines


def _calls(document: Mapping[str, Any]) -> list[str]:
    lines = ["", "SYSTEM CALLS: the first line that fits counts; what no line allows gets EPERM"]
    for kind, entries in document["calls"].items():
        if entries:
            lines.append(f" {_CALLS.get(kind, kind)}")
        for entry in entries:
            when = f" when {', '.join(entry['when'])}" if entry["when"] else ""
            lines += _entry(" ".join(entry["calls"]) + when, entry["why"], entry["part"])
    return lines


def findings_text(process: str, what: str, findings: Sequence[Explanation]) -> str:
    """Return the text of the answers about one question."""
    word = "allowed" if is_allowed(findings) else "refused"
    if word == "allowed" and not all(finding.is_allowed for finding in findings):
        word = "allowed, not always"
    lines = [f"{process}: {what}: {word}"]
    for finding in findings:
        layer = f", layer {finding.layer}" if finding.layer and not finding.is_allowed else ""
        when = f", when {finding.when}" if finding.when else ""
        how = {"asked": "carried out by the supervisor after a look"}.get(finding.how, finding.how)
        lines += _wrapped(f"{finding.stage}: {finding.action}: {how}{layer}{when}", "  ", 4)
        lines += _wrapped(f"{finding.part}: {finding.why}" if finding.part else finding.why, "      ", 6)
    return "\n".join(lines)
