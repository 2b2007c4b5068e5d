"""What the runtime costs at rest, beside two goals: without a service, with all that can be had here, and started anew.

Each service is added by `component add` with the least that it asks for. What this machine lacks is named and left out;
services that want a device, a sound server or units of their own (serial, input, sound, services) are not tried. The
sum counts every process: launcher, supervisor, authority, fork servers, loops and services.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.host import SUPERVISOR, Host, is_active
from bench.processes import cpu_ns, memory_kib, switches, tree

CORE_PERCENT, MIB = 1.5, 160.0  # goals, of all processes together
WARM_S, REST_S = 15.0, 60.0  # until what a start leaves to do is done; and what is measured
WANTS_ROOT = re.compile("secret root")


class RestRow(NamedTuple):
    """What one process, or all, takes at rest: % of a core, wake-ups a second, PSS and own memory in MiB."""

    name: str
    core: float
    woken: float
    pss: float
    own: float


def services(folder: Path) -> dict[str, list[str]]:
    """Return the words of `component add` for each service."""
    for name in ("tree", "kept", "backups"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    tree, kept, backups = (str(folder / name) for name in ("tree", "kept", "backups"))
    return {
        "secondary/secrets": [],
        "secondary/config": ["--option=documents={house: {fields: {level: {type: int}}}}"],
        "secondary/time": [],
        "secondary/updates": [],
        "secondary/backup": [
            f"--option=sources={{kept: {{path: {kept}}}}}", f"--option=target={backups}",
            f"--needs=read=[{{path: {kept}, why: it is kept}}]",
            f"--needs=write=[{{path: {backups}, why: backups lie there}}]",
        ],
        "third/files": [f"--option=trees={{tree: {{path: {tree}}}}}", f"--needs=write=[{{path: {tree}, why: a tree}}]"],
        "third/notify": [],
        "third/camera": ["--option=sources={pattern: {pattern: true}}"],
        "forth/policy": ["--option=rules={low: {on_battery: true, then: [notify]}}"],
        "external/fetch": [],
        "external/discovery": [],
        "external/configuration": ["--option=interfaces={}"],
        "external/firewall": ["--option=input={policy: accept, rules: []}"],
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 if a goal is missed with all services, live or started anew."""
    parser = argparse.ArgumentParser(prog="bench/run_services.py", description=__doc__)
    parser.add_argument("--seconds", type=float, default=REST_S, help="how long each state is measured")
    seconds = parser.parse_args(argv).seconds
    with tempfile.TemporaryDirectory(prefix="tlsrt-services.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        host = Host(folder)
        try:
            host.start()
            _measure(host, "no service added", seconds)
            added = _add(host, services(folder))
            live = _measure(host, f"{len(added)} services added while it runs", seconds)
            host.stop()
            host.start()
            host.wait_for(lambda lines: all(is_active(address.replace("/", "."), lines) for address in added))
            anew = _measure(host, f"started with {len(added)} services", seconds)
            return 0 if live and anew else 1
        finally:
            host.stop()


def _add(host: Host, wanted: dict[str, list[str]]) -> list[str]:
    """Add them, and make the roots that two of them want before they start; say what cannot be had."""
    added: list[str] = []
    verbs = [["component", "add", address, "--yes", *words] for address, words in wanted.items()]
    verbs += [["secret", "make", address, "root"] for address in ("secondary/secrets", "secondary/backup")]
    for verb in verbs:
        command = [str(SUPERVISOR), *verb, "--config", str(host.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode and not WANTS_ROOT.search(done.stdout + done.stderr):
            print(f"{verb[2]} is left out: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
        elif verb[0] == "component":
            added.append(verb[2])
    return added


def _measure(host: Host, title: str, seconds: float) -> bool:
    """Print a row for each process and their sum; return whether both goals are met."""
    time.sleep(WARM_S)
    known = {pid: name for name, pid in host.pids().items() if pid}
    pids = tree(host.process.pid)
    before = {pid: (cpu_ns([pid]), switches([pid])) for pid in pids}
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    rows = [
        RestRow(
            known.get(pid) or Path(f"/proc/{pid}/comm").read_text().strip(),
            (cpu_ns([pid]) - cpu) / took / 1e7,
            (switches([pid]) - woken) / took,
            *(kib / 1024 for kib in memory_kib(pid)),
        )
        for pid, (cpu, woken) in before.items()
    ]
    print(f"\n{title}: {took:.0f} s, load {os.getloadavg()[0]:.1f}")
    print(f"{'process':24} % of a core wake-ups/s  PSS MiB  own MiB")
    for row in sorted(rows, key=lambda row: -row.pss):
        _show(row)
    total = RestRow(
        "all", sum(row.core for row in rows), sum(row.woken for row in rows), sum(row.pss for row in rows),
        sum(row.own for row in rows),
    )  # fmt: skip
    _show(total)
    print(f"goals: {CORE_PERCENT} % and {MIB:g} MiB", flush=True)
    return total.core < CORE_PERCENT and total.pss < MIB


def _show(row: RestRow) -> None:
    print(f"{row.name:24} {row.core:11.2f} {row.woken:10.1f} {row.pss:8.1f} {row.own:8.1f}")
