"""Components that are brought and off: listed, added to a running host by their address, called, taken off again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hosts.running_host import RunningHost, running

from tlsrt import CallError
from tlsrt.config.import_path import package_folder

BELL, BOX = "third/bell", "third/box"
NEIGHBOURS = ("primary", "primary.facts", "secondary", "third", "forth", "external")
MANIFEST = """
manifest: 1
component: third/bell
class: "bell.parts.ring:Bell"
title: rings, and says how much room it has
needs:
  memory_mb: 16
  read: [{path: /etc, why: it looks for its tune there}]
"""
SOURCE = '''
from pathlib import Path
from tlsrt import Component, handler

class Bell(Component):
    """A bell."""

    @handler
    async def ring(self, path: str) -> str:
        """Return what a file holds."""
        return Path(path).read_text()
'''
METADATA = "Metadata-Version: 2.1\nName: bell\nVersion: 1.0\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A distribution as pip would have installed it: a package with its manifest in a folder of it."""
    folder = tmp_path_factory.mktemp("distribution")
    files = {
        "bell/__init__.py": "",
        "bell/parts/__init__.py": "",
        "bell/parts/ring.py": SOURCE,
        "bell/parts/ring.tlsrt.yaml": MANIFEST,
        "bell-1.0.dist-info/METADATA": METADATA,
        "bell-1.0.dist-info/entry_points.txt": "[tlsrt.components]\nring = bell.parts:ring\n",
        "bell-1.0.dist-info/top_level.txt": "bell\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [folder / "bell", folder / "bell-1.0.dist-info"]


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, made: list[Path]) -> Iterator[RunningHost]:
    yield from running(request, packages=made)


def refused(host: RunningHost, *words: str) -> str:
    done = host.cli("component", *words)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_what_is_off_is_listed_added_with_another_need_called_and_taken_off(host: RunningHost, tmp_path: Path) -> None:
    (tmp_path / "tune").write_text("ding")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    listed = host.cli("component", "list", "--available")
    assert listed.returncode == 0
    row = next(line for line in listed.stdout.splitlines() if line.startswith(BELL))
    assert "rings, and says how much room it has" in row
    assert "read" in row and "bell 1.0" in row

    before = {name: host.pids()[name] for name in NEIGHBOURS}
    added = host.cli(
        "component", "add", BELL, "--needs", "memory_mb=24", "--needs", f"read.0.path={tmp_path}", "--yes", "--json"
    )
    assert added.returncode == 0, added.stderr
    [one] = json.loads(added.stdout[added.stdout.index("{") :])["added"]
    assert one["host"]["outcome"] != "failed"
    assert {(each["kind"], each["what"]) for each in one["asks"]} == {("memory_mb", "24 MiB"), ("read", str(tmp_path))}
    assert host.client().call(BELL, "ring", str(tmp_path / "tune")) == "ding"
    assert {name: host.pids()[name] for name in NEIGHBOURS} == before

    drop_in = yaml.safe_load((host.folder / "components.d" / "third.bell.yaml").read_text())
    assert (drop_in["package"], drop_in["manifest"]) == ("bell.parts", "ring.tlsrt.yaml")
    assert drop_in["needs"]["memory_mb"] == 24
    shown = host.cli("component", "show", BELL).stdout
    assert "24 MiB" in shown and str(tmp_path) in shown and "bell 1.0" in shown
    assert BELL not in host.cli("component", "list", "--available").stdout
    assert "asks for what was approved" in host.cli("component", "diff", BELL).stdout
    assert "allowed" in host.cli("sandbox", "explain", "third.bell", str(tmp_path / "tune")).stdout
    assert host.cli("check").returncode == 0
    assert "is there already" in refused(host, "add", BELL, "--yes")

    removed = host.cli("component", "remove", BELL)
    assert removed.returncode == 0, removed.stderr
    with pytest.raises(CallError):
        host.client().call(BELL, "ring", "/etc/hostname")
    assert BELL in host.cli("component", "list", "--available").stdout


def test_what_is_wrong_is_one_sentence_and_nothing_is_added(host: RunningHost) -> None:
    assert "there is no third/bel that could be added, did you mean third/bell?" in refused(host, "add", "third/bel")
    assert "third/io comes with tlsrt and is on" in refused(host, "add", "third/io")
    assert "did you mean memory_mb?" in refused(host, "add", BELL, "--needs", "memori_mb=3", "--yes")
    assert "memory_mb must be" in refused(host, "add", BELL, "--needs", "memory_mb=much", "--yes")
    assert not (host.folder / "components.d").exists()


def test_a_service_that_cannot_be_confined_is_down_and_the_host_goes_on(host: RunningHost) -> None:
    closed = host.base / "closed"
    closed.mkdir(mode=0o700)
    pids = {name: host.pids()[name] for name in NEIGHBOURS}
    done = host.cli("component", "add", BELL, "--yes", "--needs", f"read=[{{path: {closed}, why: a test}}]")
    assert done.returncode != 0 and f"cannot read {closed}: make it readable for others" in done.stdout + done.stderr
    assert host.loop("third.bell")["state"] == "failed"
    assert {name: host.pids()[name] for name in NEIGHBOURS} == pids
    assert host.stop() == 0
    host.start(until="^third.bell +failed ")  # a start goes on too
    host.wait_for("^ready ")
    assert host.loop("third.bell")["state"] == "failed"
    closed.chmod(0o755)
    assert host.cli("restart", "third.bell").returncode == 0
    assert host.loop("third.bell")["state"] == "active"
    assert host.cli("component", "remove", BELL).returncode == 0


def test_a_changed_need_is_sealed_as_all_of_a_drop_in_is(host: RunningHost) -> None:
    assert host.cli("component", "add", BELL, "--needs", "memory_mb=24", "--yes").returncode == 0
    path = host.folder / "components.d" / "third.bell.yaml"
    path.write_text(path.read_text().replace("memory_mb: 24", "memory_mb: 25"))
    assert "drop-in/third.bell.yaml" in host.cli("seal", "--diff").stdout
    assert host.cli("seal").returncode == 0
    assert host.cli("reload").returncode == 0
    assert "25 MiB" in host.cli("component", "show", BELL).stdout
    assert host.cli("component", "remove", BELL, "--purge").returncode == 0


def test_a_component_of_tlsrt_itself_runs_by_a_drop_in_and_has_nothing_to_uninstall(host: RunningHost) -> None:
    """As what tlsrt offers: here another one of a class that is built in, at an address of its own."""
    folder = host.folder / "components.d"
    folder.mkdir()
    manifest = (package_folder() / "loops" / "third" / "io.tlsrt.yaml").read_bytes()
    (folder / "third.box.manifest").write_bytes(manifest)
    drop_in = {"package": "tlsrt.loops.third", "manifest": "io.tlsrt.yaml", "process": "own"}
    (folder / "third.box.yaml").write_text(yaml.safe_dump({**drop_in, "policy": {f"client/admin -> {BOX}": "*"}}))
    assert host.cli("seal").returncode == 0
    assert host.cli("reload").returncode == 0
    assert host.loop("third.box")["state"] == "active"
    assert "notify" in host.client().call(BOX, "describe")["methods"]
    assert "from tlsrt " in host.cli("component", "show", BOX).stdout
    assert "comes with tlsrt" in refused(host, "remove", BOX, "--uninstall")
    removed = host.cli("component", "remove", BOX)
    assert removed.returncode == 0 and "uninstall" not in removed.stdout


def test_a_service_that_needs_options_is_refused_before_the_yes_and_nothing_is_written(
    host: RunningHost, tmp_path: Path
) -> None:
    rows = host.cli("component", "list", "--available").stdout.splitlines()
    assert "NEEDS OPTION" in rows[0]
    assert "target, sources" in next(row for row in rows if row.startswith("secondary/backup"))
    before = (host.folder / "boot.token").read_bytes() if (host.folder / "boot.token").exists() else None
    for address, how in {
        "third/files": "--option 'trees={NAME: {path: PATH}}'",
        "secondary/backup": "--option 'target=PATH' --option 'sources={NAME: {}}'",
        "secondary/config": "--option 'documents=",
    }.items():
        done = host.cli("component", "add", address, "--yes")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1), done.stderr
        assert f"{address} does not run without the option" in done.stderr and how in done.stderr
    assert not (host.folder / "components.d").exists()
    assert ((host.folder / "boot.token").read_bytes() if before is not None else None) == before
    added = host.cli("component", "add", "third/files", "--yes", "--option", f"trees={{here: {{path: {tmp_path}}}}}")
    assert "third/files" in added.stdout and "does not run without" not in added.stderr
    assert host.cli("component", "remove", "third/files", "--purge").returncode == 0
