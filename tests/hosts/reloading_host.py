"""A running host whose configuration is changed and taken while it runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from hosts.running_host import RunningHost
from tlsrt.supervisor.control.client import ControlClient

PACKAGE = Path(__file__).parent / "probed_package" / "probed"
PROBES = ("primary/probed", "secondary/probed", "third/probed", "external/probed")
PROBED: dict[str, Any] = {
    "components": {address: {"class": "probed:Probed", "process": "shared"} for address in PROBES},
    "policy": {f"client/admin -> {address}": "*" for address in PROBES},
    "packages": [PACKAGE],
}
EX_CONFIG, EX_UNAVAILABLE = 78, 69
LIMIT_S = 60.0
_as_operator = threading.Lock()  # whoever asks is one user at a time


def edit(host: RunningHost, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the document of the configuration file."""
    document = yaml.safe_load(host.config_path.read_text())
    change(document)
    separate = json.loads(json.dumps(document))  # equal parts would become aliases, which are refused
    host.config_path.write_text(yaml.safe_dump(separate, sort_keys=False))


def set_loop(host: RunningHost, loop: str, **settings: Any) -> None:
    """Change settings of a loop; a list is added to."""

    def change(document: dict[str, Any]) -> None:
        loops = document.setdefault("loops", {})
        known = loops.get(loop) or {}
        for name, value in settings.items():
            known[name] = [*known.get(name, []), *value] if isinstance(value, list) else value
        loops[loop] = known

    edit(host, change)


def seal_host(host: RunningHost) -> None:
    """Seal the host as it is now."""
    done = host.cli("seal")
    assert done.returncode == 0, done.stderr


def reload(host: RunningHost, *, code: int = 0) -> dict[str, Any]:
    """Reload and return the report, and under `said` why it was refused; the command would end with `code`."""
    with _as_operator, host._as_operator():
        client = ControlClient(host.config.run_dir)  # who asks is known from here on
    with client:
        answer = client.ask("reload", timeout_s=LIMIT_S)
    host._note_processes()
    would_end = EX_CONFIG if "refused" in answer else EX_UNAVAILABLE if answer["failed"] else 0
    assert would_end == code, f"exit code {would_end}: {json.dumps(answer, indent=1)}"
    return {**answer, "said": answer.get("refused", [])}


def reload_by_command(host: RunningHost, *, code: int = 0) -> dict[str, Any]:
    """Do the same with the command line."""
    done = host.cli("reload", "--json")
    assert done.returncode == code, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    host._note_processes()
    said = [line.removeprefix("tlsrt-supervisor: ") for line in done.stderr.splitlines()]
    report: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return {**report, "said": said}


def outcomes(report: Mapping[str, Any]) -> dict[str, str]:
    """Return loop -> outcome."""
    return {loop["name"]: loop["outcome"] for loop in report["loops"]}


def entry_of(report: Mapping[str, Any], loop: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in report["loops"] if entry["name"] == loop)
    return found


def state(host: RunningHost) -> dict[str, Any]:
    """Return what a refused reload must not change: who runs, in which epoch, under which profile."""
    document = host.status()
    loops = {loop["name"]: (loop["pid"], loop["sandbox"]["profile"]) for loop in document["loops"]}
    return {"loops": loops, "authority": document["authority"]["pid"], "epoch": document["authority"]["epoch"]}


def assert_one_boundary(host: RunningHost) -> dict[str, Any]:
    """Assert that every loop is in one epoch and under the profiles in force; return the status."""
    document = host.status()
    boundary = document["boundary"]
    assert boundary["equal"] and not boundary["changing"], boundary
    assert {loop["epoch"] for loop in document["loops"]} == {document["authority"]["epoch"]}
    return document


def limit(pid: int, name: str) -> int:
    """Return the hard limit of a process, from outside."""
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(name):
            return int(line.removeprefix(name).split()[1])
    raise AssertionError(f"no {name}")
