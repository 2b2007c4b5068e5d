"""What the services that are brought cost at rest: one host with all that can be added here, beside two goals.

Each is added by `component add` with the least that it asks for. What this machine lacks is named and left out.
Services that want devices or rules of their own (serial, camera, sound, input, policy, config) are not among them.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from bench.host import SUPERVISOR, Host
from bench.processes import cpu_ns, memory_kib

CORE_PERCENT, MIB = 1.5, 160.0  # goals, of all processes together
WARM_S, REST_S = 15.0, 20.0  # until what a start leaves to do is done; and what is measured
ROUNDS = 2
WANTS_ROOT = re.compile("secret root")


def services(folder: Path) -> dict[str, list[str]]:
    """Return the words of `component add` for each service."""
    for name in ("tree", "kept", "backups"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    tree, kept, backups = (str(folder / name) for name in ("tree", "kept", "backups"))
    return {
        "secondary/secrets": [],
        "secondary/backup": [
            f"--option=sources={{kept: {{path: {kept}}}}}", f"--option=target={backups}",
            f"--needs=read=[{{path: {kept}, why: it is kept}}]",
            f"--needs=write=[{{path: {backups}, why: backups lie there}}]",
        ],
        "third/files": [f"--option=trees={{tree: {{path: {tree}}}}}", f"--needs=write=[{{path: {tree}, why: a tree}}]"],
        "third/notify": [],
        "external/fetch": [],
        "external/firewall": ["--option=input={policy: accept, rules: []}"],
    }  # fmt: skip


def main() -> int:
    """Measure and print; the exit code is 1 if a goal is missed."""
    with tempfile.TemporaryDirectory(prefix="tlsrt-services.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        host = Host(folder)
        host.start()
        try:
            _add(host, services(folder))
            return _measure(host)
        finally:
            host.stop()


def _add(host: Host, wanted: dict[str, list[str]]) -> None:
    """Add them, and make the roots that two of them want before they start; say what cannot be had."""
    verbs = [["component", "add", address, "--yes", *words] for address, words in wanted.items()]
    verbs += [["secret", "make", address, "root"] for address in ("secondary/secrets", "secondary/backup")]
    for verb in verbs:
        command = [str(SUPERVISOR), *verb, "--config", str(host.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode and not WANTS_ROOT.search(done.stdout + done.stderr):
            print(f"{verb[2]} is left out: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


def _measure(host: Host) -> int:
    time.sleep(WARM_S)
    is_met = True
    for number in range(ROUNDS):
        pids = {name: pid for name, pid in host.pids().items() if pid}
        before, began = {name: cpu_ns([pid]) for name, pid in pids.items()}, time.monotonic_ns()
        time.sleep(REST_S)
        took = time.monotonic_ns() - began
        rows = [
            (name, 100 * (cpu_ns([pid]) - before[name]) / took, memory_kib(pid)[0] / 1024) for name, pid in pids.items()
        ]
        print(f"\nround {number + 1}, load {os.getloadavg()[0]:.1f}, {REST_S:g} s\n{'process':24} % of a core  PSS MiB")
        for name, share, pss in sorted(rows, key=lambda row: -row[2]):
            print(f"{name:24} {share:11.2f} {pss:8.1f}")
        core, all_mib = sum(row[1] for row in rows), sum(row[2] for row in rows)
        print(f"{'all':24} {core:11.2f} {all_mib:8.1f}   goals: {CORE_PERCENT} % and {MIB:g} MiB")
        is_met = is_met and core < CORE_PERCENT and all_mib < MIB
    return 0 if is_met else 1
