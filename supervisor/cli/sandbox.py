"""`tlsrt-supervisor sandbox check`, `show` and `explain`.

They need neither a running supervisor nor root: a profile follows from the configuration and the user who asks.
"""

from __future__ import annotations

import argparse
import json
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tlsrt.command_line.folding import folded_output
from tlsrt.command_line.run import folded
from tlsrt.command_line.table import Document
from tlsrt.config.load import load_config
from tlsrt.config.packages import code_roots
from tlsrt.config.program_files import files_of_programs
from tlsrt.config.schema import Config
from tlsrt.config.search_path import find_config
from tlsrt.errors import EX_FAILED, EX_UNAVAILABLE, ConfigError, InvalidArgument
from tlsrt.sandbox.profile.compose import (
    profile_for_authority,
    profile_for_helper,
    profile_for_loop,
    profile_for_service,
)
from tlsrt.sandbox.profile.profile import (
    ACME,
    EXPORT,
    HELPER,
    HELPERS,
    LEARNER,
    METRICS,
    NETWORK_HELPER,
    RESOLVER,
    SERVICES,
)
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.profile.program_profile import (
    PlacedProgram,
    fragments_of_program,
    profile_for_program,
    program_label,
)
from tlsrt.sandbox.report.effective import Effective, document, effective
from tlsrt.sandbox.report.explain import Explanation, is_allowed
from tlsrt.sandbox.report.explain import explain as explained
from tlsrt.supervisor.cli.exchange import PROGRAM, config_of
from tlsrt.supervisor.process.uids import AUTHORITY, Uids, own_identity
from tlsrt.text import did_you_mean

CHECK_PROGRAM = (
    "from tlsrt.supervisor.launch.launcher import inner; from tlsrt.supervisor.cli.sandbox import inside_check; "
    "inner(inside_check)"
)
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
    "answer": "answered without effect and without a report",
    "import": "allowed until the seal",
    "broker": "performed by the supervisor after a check",
    "enosys": "answered as absent (ENOSYS)",
    "kill": "killed",
}


def show(arguments: argparse.Namespace) -> Document:
    """Return the effective profile of one process."""
    config = config_of(arguments)
    _check_process(config, arguments.process)
    found = document(effective_of(config, arguments.process))
    return {**found, "process": arguments.process}  # a program by its name, and not by that of a slot


def explain(arguments: argparse.Namespace) -> int:
    """Print whether a process may do something, and why; EX_FAILED if it may not."""
    config = config_of(arguments)
    _check_process(config, arguments.process)
    what = " ".join(arguments.what)
    try:
        findings = explained(effective_of(config, arguments.process), arguments.what)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    allowed = is_allowed(findings)
    if arguments.json:
        answers = [asdict(finding) for finding in findings]
        print(
            json.dumps({"process": arguments.process, "what": what, "allowed": allowed, "answers": answers}, indent=2)
        )
    else:
        print("\n".join(finding_lines(arguments.process, what, findings)))
    return 0 if allowed else EX_FAILED


def check(arguments: argparse.Namespace) -> int:
    """Try every layer of the sandbox in the namespaces of a supervisor, by `inside_check`."""
    from tlsrt.supervisor.launch.launcher import launch

    try:
        found = ["--config", os.path.abspath(find_config(arguments.config))]
    except ConfigError:  # none is needed
        found = []
    return launch([*found, *(["--json"] if arguments.json else [])], program=CHECK_PROGRAM)


def inside_check(arguments: list[str]) -> int:
    """In the launcher's namespaces: check, print, and return 0 if nothing is missing, else 69."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--death-pipe", type=int)
    parser.add_argument("--no-pid-namespace")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--json", action="store_true")
    asked, _ = parser.parse_known_args(arguments)  # what else the launcher passes on is for a supervisor

    def run() -> int:
        from tlsrt.supervisor.launch.host_check import check_host, report

        config = load_config(asked.config) if asked.config is not None else None
        found = check_host(config, asked.no_pid_namespace)
        with folded_output(has_answer=not asked.json):
            print(json.dumps(found.document(), indent=2) if asked.json else "\n".join(report(found)))
        return EX_UNAVAILABLE if found.missing else 0

    return folded(PROGRAM, run)


def _check_process(config: Config, process: str) -> None:
    known = [*(loop.name for loop in config.loops), AUTHORITY, *([HELPER] if config.needs_helper else [])]
    known += [NETWORK_HELPER] if config.needs_network_helper else []
    known += [RESOLVER] if config.needs_resolver else []
    known += [ACME] if config.acme.origin is not None else []
    known += [METRICS] if config.metrics.place is not None else []
    known += [EXPORT] if config.collectors else []
    known += [LEARNER] if config.needs_learner else []
    known += [program_label(component, one.name) for component in config.components for one in component.programs]
    if process not in known:
        hint = did_you_mean(process, known) or ": the processes are " + ", ".join(known)
        raise InvalidArgument(f"there is no loop {process}{hint}")


def effective_of(config: Config, process: str, files: ProfileFiles | None = None) -> Effective:
    """Return how a loop or the authority would be confined, by `files` if given. Raises ConfigError, SandboxError."""
    identity = own_identity(config)
    if "/" in process:
        return _effective_of_program(config, process, identity)
    code = code_roots(config, config.components_of(process))
    files = files or ProfileFiles()
    uid = identity.uid(process)
    if process in HELPERS:
        profile = profile_for_helper(config, uid, files, rootless=identity.rootless, code=code, name=process)
    elif process in SERVICES:
        profile = profile_for_service(config, process, uid, files, rootless=identity.rootless, code=code)
    elif process == AUTHORITY:
        profile = profile_for_authority(config, uid, files, rootless=identity.rootless, code=code)
    else:
        profile = profile_for_loop(config, config.loop(process), uid, files, rootless=identity.rootless, code=code)
    return effective(config, profile, code, files)


def _effective_of_program(config: Config, label: str, identity: Uids) -> Effective:
    """Return how a program would be confined. Raises ConfigError, SandboxError."""
    files = ProfileFiles()
    owner, name = next(
        (component, one.name)
        for component in config.components
        for one in component.programs
        if program_label(component, one.name) == label
    )
    found = files_of_programs((owner,))
    program = next(one for one in owner.programs if one.name == name)
    placed = PlacedProgram(owner, program, found[owner.address, name])
    slot = placed.slots[0]
    profile = profile_for_program(config, placed, slot, identity.uid(slot), files, rootless=identity.rootless)
    return Effective(config, profile, fragments_of_program(config, placed, files), ())


def profile_lines(document: Mapping[str, Any]) -> list[str]:
    """Return a document of `sandbox.effective` as people read it."""
    identity = document["identity"]
    kept = ", ".join(identity["capabilities"]) or "no capabilities"
    who = f"uid {identity['uid']}, gid {identity['gid']}, no other groups, {kept}"
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
    return [
        *lines, *_files(document), *_grants(document), *_network(document), *_limits(document), *_calls(document)
    ]  # fmt: skip


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
    if document["executes"]:
        lines += _wrapped(" ".join(document["executes"]), " executes ", 10)
    for kind, title in _FILES.items():
        entries = [entry for entry in document["files"] if entry["kind"] == kind]
        if entries:
            lines.append(f" {title}")
        for (part, why), paths in _joined(entries).items():
            lines += _entry(" ".join(paths), why, part)
    return lines


def _grants(document: Mapping[str, Any]) -> list[str]:
    lines = ["", "GRANTS: opened, done, heard or run for it from outside"] if document["grants"] else []
    for grant in document["grants"]:
        lines += _entry(f"{grant['kind']} {grant['name']}: {grant['what']}", grant["why"], grant["part"])
    return lines


def _network(document: Mapping[str, Any]) -> list[str]:
    is_own = document["namespaces"]["net"] == "its own"
    doors = _listeners(document)
    if is_own and any(one["kind"] == "netlink" for one in document["grants"]):
        return ["", "NETWORK: its network namespace is empty; the supervisor makes its netlink sockets outside", *doors]
    if is_own and not document["egress"]:
        return ["", "NETWORK: none; its network namespace is empty", *doors]
    whose = "the host's network namespace"
    if is_own:
        whose = "its network namespace is empty; the supervisor makes its sockets outside"
    lines = ["", f"NETWORK: {whose}"]
    for line in document["network"]:
        lines += _wrapped(f"{line['part']}: {line['why']}", "      ", 6)
    lines.append(" egress" if document["egress"] else " egress: no rule, so no host can be reached")
    for rule in document["egress"]:
        lines += _entry(rule["rule"], rule["why"], rule["part"])
    ports = document["tcp_connect_ports"]
    listed = "any: too many to list" if ports is None else " ".join(map(str, ports)) or "none"
    lines.append(f" TCP ports that Landlock lets it connect to: {listed}; to bind: none")
    return [*lines, *doors]


def _listeners(document: Mapping[str, Any]) -> list[str]:
    lines = [" listens, on sockets that the supervisor has bound"] if document["listeners"] else []
    for one in document["listeners"]:
        whom = "who has sent something to it within 5 minutes" if one["replies"] else "any host"
        answers = f", and may send from there to {whom}" if one["answers"] else ""
        lines += _entry(f"{one['place']}{answers}", one["why"], one["part"])
    lines += (
        [" UNIX sockets of other programs, to which the supervisor connects as its uid"] if document["sockets"] else []
    )
    for one in document["sockets"]:
        filtered = ", through a proxy that passes on what its grant lists" if one["filtered"] else ""
        lines += _entry(f"{one['path']}{filtered}", one["why"], one["part"])
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


def finding_lines(process: str, what: str, findings: Sequence[Explanation]) -> list[str]:
    """Return the answers about one question as people read them."""
    word = "allowed" if is_allowed(findings) else "refused"
    if word == "allowed" and not all(finding.is_allowed for finding in findings):
        word = "allowed, not always"
    lines = [f"{process}: {what}: {word}"]
    for finding in findings:
        layer = f", layer {finding.layer}" if finding.layer and not finding.is_allowed else ""
        when = f", when {finding.when}" if finding.when else ""
        how = {"asked": "performed by the supervisor after a check"}.get(finding.how, finding.how)
        lines += _wrapped(f"{finding.stage}: {finding.action}: {how}{layer}{when}", "  ", 4)
        lines += _wrapped(f"{finding.part}: {finding.why}" if finding.part else finding.why, "      ", 6)
    return lines
