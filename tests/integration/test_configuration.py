"""Drop-ins, variables and `apply` on one running host."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.reloading_host import outcomes, reload, seal_host, state
from hosts.running_host import RunningHost, running

from tlsrt.errors import EX_CHANGED, EX_CONFIG


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, extra={"measure": "strict"})


def write(folder: Path, name: str, text: str) -> None:
    (folder / "tlsrt.yaml.d").mkdir(parents=True, exist_ok=True)
    (folder / "tlsrt.yaml.d" / name).write_text(text)


def applied(host: RunningHost, source: Path, *words: str, code: int) -> dict[str, Any]:
    done = host.cli("apply", str(source), "--detailed-exitcode", "--json", *words)
    assert done.returncode == code, f"{done.stdout}{done.stderr}"
    answer: dict[str, Any] = json.loads(done.stdout) if code != EX_CONFIG else {"said": done.stderr}
    return answer


def test_a_drop_in_is_taken_by_a_reload_once_it_is_sealed(host: RunningHost) -> None:
    before = state(host)
    write(host.folder, "10.yaml", "loops: {third: {read: [/etc/hostname]}}\n")
    refused = reload(host, code=EX_CONFIG)
    assert "new config.d/10.yaml" in refused["said"][0] and state(host) == before
    seal_host(host)
    plan = json.loads(host.cli("reload", "--dry-run", "--json").stdout)
    wanted = {one["name"]: one["outcome"] for one in plan["processes"]}
    assert wanted["third"] == "restarted" and wanted["secondary"] == "unchanged"
    assert outcomes(reload(host))["third"] == "restarted"
    write(host.folder, "10.yaml", "loops: {third: {read: [/etc/hostname]}")
    assert "10.yaml:1:39: the file ends within a line" in reload(host, code=EX_CONFIG)["said"][0]
    (host.folder / "tlsrt.yaml.d/10.yaml").unlink()
    assert "missing config.d/10.yaml" in reload(host, code=EX_CONFIG)["said"][0]
    seal_host(host)
    assert outcomes(reload(host))["third"] == "restarted"


def test_apply_is_taken_by_the_running_host_or_undone(host: RunningHost, tmp_path: Path) -> None:
    write(tmp_path, "20.yaml", "policy:\n  third/* -> secondary/store: [get]\nloops: {secondary: {open_files: 100}}\n")
    before = state(host)
    assert applied(host, tmp_path, "--dry-run", code=EX_CHANGED)["changed"] and state(host) == before
    answer = applied(host, tmp_path, "--yes", code=EX_CHANGED)
    assert {one["outcome"] for one in answer["host"]["loops"] if one["name"] == "secondary"} == {"tightened live"}
    assert applied(host, tmp_path, "--yes", code=0)["changed"] is False
    after = state(host)
    write(tmp_path, "20.yaml", "limits: {epoch_s: 77}\n")
    said = applied(host, tmp_path, "--yes", code=EX_CONFIG)["said"]
    assert "limits.epoch_s cannot change while tlsrt runs, so nothing was changed" in said
    write(tmp_path, "20.yaml", "components: {third/gone: {class: 'nowhere.at_all:Gone'}}\n")
    applied(host, tmp_path, "--yes", code=EX_CONFIG)
    assert state(host) == after and "[get]" in (host.folder / "tlsrt.yaml.d/20.yaml").read_text()
    assert host.cli("seal", "--diff").stdout == "nothing differs from the boot token\n"


def test_a_changed_environment_is_a_changed_configuration(host: RunningHost) -> None:
    host.stop()
    write(
        host.folder,
        "20.yaml",
        "environment: {TLSRT_FILES: by the container}\nloops:\n  secondary:\n    open_files: ${TLSRT_FILES}\n",
    )

    def run(verb: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **variables}
        return subprocess.run(host.command(verb), env=environment, capture_output=True, text=True, timeout=60)

    assert run("seal", TLSRT_FILES="100").returncode == 0
    for value, sentence in (("101", "changed environment/TLSRT_FILES"), ("no", "20.yaml:4:17: open_files must be")):
        refused = run("start", TLSRT_FILES=value)
        assert refused.returncode == EX_CONFIG and sentence in refused.stderr
    assert "20.yaml:1:15: the environment has no TLSRT_FILES" in run("start").stderr
    assert "no fault: a start takes this configuration" in run("check", TLSRT_FILES="100").stdout
