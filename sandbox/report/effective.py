"""Effective profile of one process as plain values, each with its reason, as `show` prints it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlsrt.config.alerts import alerts_of
from tlsrt.config.schema import Config
from tlsrt.sandbox.apply.layers import LAYERS, connect_ports
from tlsrt.sandbox.apply.root_filesystem import SCRATCH, SECRETS
from tlsrt.sandbox.profile.compose import expand, fragments_of
from tlsrt.sandbox.profile.fragment import CODE, LISTS, PATH_SECTIONS, SPOKEN, Line, PolicyFragment
from tlsrt.sandbox.profile.profile import ALL_LAYERS, Profile
from tlsrt.sandbox.profile.profile_files import ProfileFiles, fragment_of_process
from tlsrt.sandbox.profile.program_profile import program_label, slots_of

_LEFT_OUT = {
    "uid": "all processes have the one uid of the user",
    "net_namespace": "it keeps the host's network",
    "landlock_sealed": "a program is sealed in one step, before it is executed",
    "seccomp_sealed": "its one filter is its last",
    "cgroup": "the start makes a control group for it where the host has any, see `sandbox check`",
}
NAMESPACES = ("pid", "net", "ipc", "uts", "mount")


_NETLINK = {
    "netfilter": "changes all of the host's nftables, with CAP_NET_ADMIN",
    "route": "changes all of the host's links, addresses and routes, with CAP_NET_ADMIN",
}


@dataclass(frozen=True, slots=True)
class Effective:
    """One process: its profile, the fragments of that, and what it imports from."""

    config: Config
    profile: Profile
    fragments: tuple[PolicyFragment, ...]
    code: tuple[Path, ...]

    def lines(self, section: str) -> list[Line]:
        """Return the lines of a section of paths, base first."""
        return [line for one in self.fragments for line in one.lines[section]]

    def line_for(self, real: str, sections: Sequence[str]) -> Line | None:
        """Return the line whose path, without links, is nearest above a path. None if these sections have none."""
        nearest: tuple[int, Line | None] = (0, None)
        for section in sections:
            for line in self.lines(section):
                for path in self.paths(section, line):
                    place = os.path.realpath(path) if section in ("code", "data") else path
                    if (real == place or real.startswith(f"{place}/")) and len(place) >= nearest[0]:
                        nearest = (len(place), line)
        return nearest[1]

    def paths(self, section: str, line: Line) -> list[str]:
        """Return the paths of a line, with `$code` expanded, and without those that this host lacks."""
        return [os.fspath(path) for path in expand(line, self.code)] if section in ("code", "data") else [*line.paths]


def effective(config: Config, profile: Profile, code: Sequence[Path], files: ProfileFiles) -> Effective:
    """Return what `show` and `explain` need of a process whose profile has been made. Raises as the making does."""
    return Effective(config, profile, fragments_of(config, profile.name, files), tuple(code))


def document(one: Effective) -> dict[str, Any]:
    """Return everything that is enforced, as plain values for json.dumps."""
    profile = one.profile
    return {
        "process": profile.name,
        "about": next(part.about for part in one.fragments if part.name == _first_part(profile)),
        "digest": profile.digest().hex(),
        "identity": {"uid": profile.uid, "gid": profile.gid, "rootless": profile.rootless,
                     "capabilities": [*profile.capabilities]},
        "parts": [{"name": part.name, "about": part.about} for part in one.fragments],
        "namespaces": {name: _namespace(profile, name) for name in NAMESPACES},
        "layers": [_layer(profile, one.config.sandbox.waive, name) for name in ALL_LAYERS],
        "scheduling": _scheduling(one),
        "files": _files(one),
        "executes": sorted(map(os.fspath, profile.execute)),
        "network": [{"why": line.why, "part": line.part} for line in one.lines("network")] if profile.network else [],
        "egress": [
            {"rule": str(rule), "why": line.why, "part": line.part}
            for part in one.fragments for line in part.egress for rule in line.rules
        ],
        "listeners": [
            {"place": line.place, "answers": line.answers, "replies": line.replies, "why": line.why, "part": line.part}
            for part in one.fragments for line in part.listen
        ],
        "sockets": [
            {"path": line.path, "filtered": bool(line.proxy), "why": line.why, "part": line.part}
            for part in one.fragments for line in part.sockets
        ],
        "tcp_connect_ports": _ports(profile),
        "limits": _limits(one),
        "calls": {kind: _calls(one, kind) for kind in LISTS},
        "grants": grants(one),
    }  # fmt: skip


def _first_part(profile: Profile) -> str:
    return "program" if profile.execute else fragment_of_process(profile.name)


def _undoes(seconds: int, family: str) -> str:
    return f"; undone by a process outside of the host within {seconds} s" if seconds and family == "route" else ""


def grants(one: Effective) -> list[dict[str, str]]:
    """Return what is opened or done for the process from outside: no layer shows it."""
    config, process = one.config, one.profile.name
    found = [
        {"kind": "device", "name": device.name, "what": f"{device.path} ({device.mode})", "path": device.path,
         "why": device.why, "by": "helper", "part": f"components.{owner.address}"}
        for owner, device in config.devices_of(process)
    ]  # fmt: skip
    found += [
        {"kind": "setting", "name": setting.name, "what": setting.about, "path": setting.path,
         "why": setting.why, "by": "network" if setting.is_network else "helper", "part": f"components.{owner.address}"}
        for owner, setting in config.host_settings_of(process)
    ]  # fmt: skip
    found += [
        {"kind": "alert", "name": alert.name, "what": f"{alert.severity}, counted by {alert.detector}", "path": "",
         "why": alert.why, "by": "supervisor", "part": f"components.{owner.address}"}
        for owner, alert in alerts_of(config.components_of(process))
    ]  # fmt: skip
    found += [
        {"kind": "runtime", "name": right.may, "what": str(right), "path": "", "why": right.why, "by": "supervisor",
         "part": f"components.{owner.address}"}
        for owner in config.components_of(process) for right in owner.needs.runtime
    ]  # fmt: skip
    found += [
        {"kind": "program", "name": program_label(owner, program.name), "why": program.why, "by": "supervisor",
         "what": f"worker {program.worker}" if program.worker else f"{program.run}",
         "path": "" if program.worker else f"{program.run}", "part": f"components.{owner.address}"}
        for owner in config.components_of(process) for program in owner.programs
    ]  # fmt: skip
    found += [
        {"kind": "netlink", "name": family, "what": _NETLINK[family] + _undoes(program.undo_s, family), "path": "",
         "why": why, "by": "supervisor",
         "part": f"programs.{program_label(owner, program.name)}"}
        for owner in config.components for program in owner.programs if process in slots_of(owner, program)
        for family, why in program.netlink.items()
    ]  # fmt: skip
    return found + [
        {"kind": "events", "name": event.kind, "what": str(event), "path": event.file, "why": event.why,
         "by": "helper" if event.takes_helper else "supervisor", "part": f"components.{owner.address}"}
        for owner, event in config.host_events_of(process)
    ]  # fmt: skip


def _namespace(profile: Profile, name: str) -> str:
    layer = f"{name}_namespace"
    if layer not in profile.layers:
        return "the host's"
    return "its own" if profile.expects(layer) else "waived"


def _layer(profile: Profile, waive: Mapping[str, str], name: str) -> dict[str, Any]:
    step = next(layer.step.name.lower() for layer in LAYERS if layer.name == name)
    state, why = "applied", ""
    if name not in profile.layers:
        state, why = ("at start", _LEFT_OUT[name]) if name == "cgroup" else ("left out", _LEFT_OUT[name])
    elif name in profile.waived:
        state, why = "waived", waive.get(name, "")
    return {"layer": name, "step": step, "state": state, "why": why}


def _scheduling(one: Effective) -> dict[str, Any]:
    """Return what the configuration gives the process before it is confined. It can change neither afterwards."""
    wanted, name = one.config.scheduling, one.profile.name
    return {
        "cpus": [*wanted.cpus.get(name, ())] or None,
        "real_time_priority": wanted.priority if name in wanted.real_time else None,
    }


def _files(one: Effective) -> list[dict[str, Any]]:
    hosts = {inside: os.fspath(host) for host, inside in one.profile.write}
    found: list[dict[str, Any]] = []
    for section in PATH_SECTIONS:
        for line in one.lines(section):
            shown = one.paths(section, line)
            absent = [path for path in line.paths if path not in shown and path != CODE]
            for path in (*shown, *absent):
                entry: dict[str, Any] = {"kind": section, "path": path, "why": line.why, "part": line.part}
                if hosts.get(path, path) != path:
                    entry["host"] = hosts[path]
                if path in absent:
                    entry["absent"] = True  # on this host
                found.append(entry)
    part = one.fragments[-1].name
    made = [
        {"kind": "data", "path": path, "why": "made for it: its `files`", "part": part} for path, _ in one.profile.files
    ]
    for path in SPOKEN if one.profile.speaks_by_name else ():
        made.append({"kind": "write", "path": path, "why": "its own output, by name", "part": part})
    if one.profile.scratch_mb:
        made.append(
            {"kind": "write", "path": SCRATCH, "why": "its scratch folder, which ends with the run", "part": part}
        )
    for name in one.profile.secrets:
        made.append({"kind": "data", "path": f"{SECRETS}/{name}", "why": "a secret of its component", "part": part})
    for host, inside in one.profile.write if one.profile.execute else ():
        made.append({"kind": "write", "path": inside, "host": os.fspath(host), "why": "it lives on", "part": part})
    return [*found, *made]


def _ports(profile: Profile) -> list[int] | None:
    ports = connect_ports(profile.egress)
    return None if ports is None else sorted(ports)


def _limits(one: Effective) -> list[dict[str, Any]]:
    last = {line.limit: line for part in one.fragments for line in part.limits}
    return [
        {"limit": name, "value": one.profile.limits[name], "why": last[name].why, "part": last[name].part}
        for name in sorted(last)
    ]


def _calls(one: Effective, kind: str) -> list[dict[str, Any]]:
    return [
        {"calls": list(entry.calls), "when": list(entry.when), "why": entry.why, "part": entry.part}
        for entry in one.profile.policy.lists[kind]
    ]
