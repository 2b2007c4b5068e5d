"""`component`: packages come into an installed, strictly measured host while it runs, and go again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hosts.installation import Environment, build_wheel, installed_with_pip, scratch
from hosts.installed_host import InstalledHost
from hosts.plain_wheels import write_wheel

EX_FAILED, EX_CHANGED, EX_USAGE, EX_CONFIG = 1, 2, 64, 78
ADDRESS = "third/kettle"
WISHES = """\
needs:
  egress: [{to: ["192.0.2.7:443"], why: it asks the weather there}]
calls:
  primary/kernel: {methods: [uname], why: it shows the release}
"""


@pytest.fixture(scope="module")
def environment() -> Environment:
    return installed_with_pip()


@pytest.fixture(scope="module")
def sources(environment: Environment) -> Path:
    """The package that `component new` writes."""
    folder = scratch() / "new"
    folder.mkdir()
    subprocess.run(
        [environment.program("tlsrt-supervisor"), "component", "new", "kettle"], cwd=folder, check=True, timeout=30
    )
    return folder / "kettle"


@pytest.fixture(scope="module")
def running(environment: Environment) -> Iterator[InstalledHost]:
    """A host for the tests that come last: those before have one of their own, at the same port."""
    host = InstalledHost(environment, scratch() / "components", forked=True)
    host.like_new()
    with host.started():
        yield host
    shutil.rmtree(host.folder)


@pytest.fixture
def host(running: InstalledHost, environment: Environment) -> Iterator[InstalledHost]:
    """The host that runs; what a test has added goes at its end."""
    yield running
    running.run("component", "remove", ADDRESS, "--purge", "--uninstall", "--yes")
    for name in ("kettle", "kettle-0.1.0.dist-info", "kettle-0.2.0.dist-info"):
        shutil.rmtree(environment.site / name, ignore_errors=True)


def wheel(sources: Path, version: str = "0.1.0", **replaced: str) -> Path:
    """Return a version of the package; each argument takes the place of a line of its manifest that begins so.

    What `component new` wrote is built; another version or manifest is written beside what was built, as that is.
    """
    if not replaced and version == "0.1.0":
        return built(sources)
    lines = [
        next((text for key, text in replaced.items() if line.startswith(f"{key.rstrip('_')}:")), line)
        for line in (sources / "kettle" / "tlsrt.yaml").read_text().splitlines()
    ]
    files = {
        "kettle/__init__.py": (sources / "kettle" / "__init__.py").read_text(),
        "kettle/tlsrt.yaml": "\n".join(lines) + "\n",
    }
    folder = scratch() / f"kettle-{version}-{abs(hash(tuple(replaced.items())))}"
    return write_wheel(folder, "kettle", files, version=version, requires=["tlsrt"], component=True)


@cache
def built(sources: Path) -> Path:
    shutil.copytree(sources, scratch() / "kettle-source")
    return build_wheel(scratch() / "kettle-source", scratch() / "kettle-wheel")


def component(host: InstalledHost, *words: str | Path) -> dict[str, Any]:
    code, output, errors = host.run("component", *words, "--json")
    assert code == 0, errors
    found: dict[str, Any] = json.loads(output)
    return found


def refused(host: InstalledHost, *words: str | Path, code: int = EX_CONFIG) -> str:
    ended, _, errors = host.run("component", *words)
    assert ended == code, errors
    return errors


def pids(host: InstalledHost) -> dict[str, int]:
    return {loop["name"]: loop["pid"] for loop in host.status()["loops"]}


def test_what_new_writes_passes_its_own_test(sources: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], cwd=sources, timeout=60,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(sources)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_a_broken_drop_in_keeps_no_host_from_its_start(environment: Environment, sources: Path) -> None:
    host = InstalledHost(environment, scratch() / "broken", forked=True)
    host.like_new()
    folder = host.folder / "components.d"
    folder.mkdir(mode=0o755)
    (folder / "third.kettle.yaml").write_text("package: kettle\noptoins: {}\n")
    assert "third.kettle.yaml:2:1: unknown key 'optoins', did you mean options?" in host.run("seal")[2]
    with host.started():
        warnings = host.status()["warnings"]
        assert any("component third/kettle does not run" in line for line in warnings)
        assert host.call("primary/kernel", "uname")["system"] == "Linux"
    (folder / "third.kettle.yaml").chmod(0o666)
    assert "could be exchanged by another user" in host.run("start")[2]
    shutil.rmtree(host.folder)


def test_what_an_installed_tlsrt_brings_and_is_off_is_added_to_a_strict_host(environment: Environment) -> None:
    """As a service that tlsrt offers: here of a class that is built in, under another name."""
    entries = next(environment.site.glob("tlsrt-*.dist-info")) / "entry_points.txt"
    before, place = entries.read_text(), environment.site / "tlsrt" / "loops" / "third" / "box.tlsrt.yaml"
    manifest = (place.parent / "io.tlsrt.yaml").read_text().replace("third/io", "third/box")
    host = InstalledHost(environment, scratch() / "offered", forked=True)
    host.like_new()
    try:
        place.write_text(manifest.replace("process: shared\n", ""))
        entries.write_text(f"{before}\n[tlsrt.components]\nbox = tlsrt.loops.third:box\n")
        host.seal()
        with host.started():
            others = pids(host)
            assert "third/box" in [one["component"] for one in component(host, "list", "--available")["available"]]
            [added] = component(host, "add", "third/box", "--needs", "memory_mb=24", "--yes")["added"]
            assert added["host"]["outcome"] == "added"
            assert ("memory_mb", "24 MiB") in [(one["kind"], one["what"]) for one in added["asks"]]
            assert host.call("third/box", "notify", "info", "it is on") == 1
            assert {name: pid for name, pid in pids(host).items() if name in others} == others
            backup = host.folder.parent / "box.state"
            component(host, "backup", "third/box", backup)
            assert "comes with tlsrt, and has the packages of tlsrt" in refused(
                host, "add", "third/box", "--as", "third/other", "--isolated", "--yes", code=EX_USAGE
            )
            component(host, "restore", "third/box", backup)
            assert "no fault" in host.do("check", "--config", host.config)
        assert "nothing differs" in host.do("seal", "--diff", "--config", host.config)
        with host.started():
            assert host.call("third/box", "notify", "info", "after a start") == 1
            place.write_text(manifest.replace("process: shared\n", "").replace("disk_threads: 1", "disk_threads: 2"))
        code, _, errors = host.run("seal", "--config", host.config)
        assert code == 0 and "box.tlsrt.yaml is not the manifest that was approved" in errors
        with host.started():  # a newer tlsrt, which asks for more: it waits for the operator, and no other does
            assert "third.box" not in pids(host)
            [why] = [one["why"] for one in component(host, "list")["components"] if one["component"] == "third/box"]
            assert "component update third/box" in why[0]
            component(host, "update", "third/box", "--yes")
            assert host.call("third/box", "notify", "info", "approved") == 1
            assert component(host, "remove", "third/box")["installed"] is None
    finally:
        entries.write_text(before)
        place.unlink(missing_ok=True)
        shutil.rmtree(host.folder)


def test_a_package_comes_into_a_running_host_changes_and_goes(host: InstalledHost, sources: Path) -> None:
    before = pids(host)
    assert "say --yes" in refused(host, "add", wheel(sources), code=EX_USAGE)
    assert not (host.folder / "components.d").exists()

    [added] = component(host, "add", wheel(sources), "--yes")["added"]
    assert added["component"] == ADDRESS and added["asks"] == []
    assert added["host"]["outcome"] == "added"
    assert host.call(ADDRESS, "hello") == "hello world, for the 1. time"
    assert {name: pid for name, pid in pids(host).items() if name in before} == before

    newer = wheel(sources, "0.2.0", title=f"title: it asks\n{WISHES}")
    [*_, egress, calls] = component(host, "diff", ADDRESS, newer)["rows"]
    assert egress == ["!", "egress", "192.0.2.7:443", "it asks the weather there"]
    assert calls == ["+", "calls", "primary/kernel: uname", "it shows the release"]
    component(host, "update", ADDRESS, newer, "--yes")
    assert component(host, "show", ADDRESS)["package"] == "kettle 0.2.0"
    assert host.call(ADDRESS, "hello") == "hello world, for the 1. time"
    assert {name: pid for name, pid in pids(host).items() if name in before} == before

    [listed] = [one for one in component(host, "list")["components"] if one["component"] == ADDRESS]
    assert (listed["process"], listed["state"], listed["package"]) == ("third.kettle", "active", "kettle 0.2.0")
    state = host.folder / "state" / "third.kettle"
    assert state.is_dir()
    assert component(host, "remove", ADDRESS)["installed"] == "kettle"
    assert pids(host) == before
    assert state.is_dir()
    component(host, "add", "kettle", "--yes")  # which is installed
    other = wheel(sources, "0.2.0", title="title: it asks no more")  # of the same version, as when one works on it
    component(host, "update", ADDRESS, other, "--yes")
    assert component(host, "show", ADDRESS)["title"] == "it asks no more"
    component(host, "remove", ADDRESS, "--purge", "--uninstall", "--yes")
    assert not state.exists()
    assert not (host.environment.site / "kettle").exists()
    assert "accepts the host" in host.seal()  # nothing is left that would keep it from a start


REFUSED: list[tuple[dict[str, str], str]] = [
    ({"class_": 'class: "os:system"'}, "the class of a component of kettle is in kettle itself"),
    ({"title": "title: x y z\nneeds: {calls: [{calls: [ptrace], why: for fun}]}"}, "cannot have ptrace"),
    ({"title": "title: x y z\nneeds: {write: [{path: /etc, why: for fun}]}"}, "cannot write /etc"),
    ({"title": "title: x y z\nneeds: {wishes: 3}"}, "unknown key 'wishes' in needs"),
    ({"component": "component: secondary/store"}, "secondary/store is built in"),
]


def test_a_manifest_that_asks_for_what_cannot_be_had_changes_nothing(host: InstalledHost, sources: Path) -> None:
    before = pids(host)
    for replaced, sentence in REFUSED:
        assert sentence in refused(host, "add", wheel(sources, **replaced), "--yes")
    assert not (host.environment.site / "kettle").exists()
    assert not list((host.folder / "components.d").glob("*"))
    assert pids(host) == before
    assert host.do("seal", "--diff").strip() == "nothing differs from the boot token"


def test_nothing_is_added_to_a_host_that_is_not_what_was_sealed(host: InstalledHost, sources: Path) -> None:
    code = host.environment.site / "tlsrt" / "text.py"
    before, status = code.read_bytes(), code.stat()
    token = (host.folder / "boot.token").read_bytes()
    try:
        code.write_bytes(before + b"\n")
        assert "is not what was sealed, and this command would seal that too" in refused(
            host, "add", wheel(sources), "--yes"
        )
    finally:
        code.write_bytes(before)
        os.utime(code, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not (host.environment.site / "kettle").exists()
    assert (host.folder / "boot.token").read_bytes() == token


def test_a_package_that_changes_behind_the_operator_does_not_run(host: InstalledHost, sources: Path) -> None:
    component(host, "add", wheel(sources), "--yes")
    manifest = host.environment.site / "kettle" / "tlsrt.yaml"
    manifest.write_text(f"{manifest.read_text()}{WISHES}")
    code, _, errors = host.run("reload")
    assert code == EX_CONFIG
    assert "run `tlsrt-supervisor seal`" in errors
    _, accepted, warned = host.run("seal")  # takes the files, and still not what the manifest asks for now
    assert "dep/tlsrt" not in accepted
    assert "third/kettle does not run" in warned
    assert "third/kettle does not run" in host.run("reload")[1]
    assert "third.kettle" not in pids(host)
    assert host.call("primary/kernel", "uname")["system"] == "Linux"
    [failed] = [one for one in component(host, "list")["components"] if one["state"] == "failed"]
    assert "is not the manifest that was approved" in failed["why"][0]
    component(host, "update", ADDRESS, "--yes")
    assert host.call(ADDRESS, "hello") == "hello world, for the 1. time"


def test_a_folder_brings_a_package_with_its_component(host: InstalledHost, sources: Path, tmp_path: Path) -> None:
    def applied(*words: str, code: int) -> str:
        ended, output, errors = host.run("apply", tmp_path, "--detailed-exitcode", *words)
        assert ended == code, f"{output}{errors}"
        return output + errors

    manifest = (sources / "kettle" / "tlsrt.yaml").read_bytes()
    policy = f'policy:\n  client/admin -> {ADDRESS}: "*"\n'
    for name, data in (
        ("components.d/third.kettle.yaml", f"package: kettle\n{policy}".encode()),
        ("components.d/third.kettle.manifest", manifest),
        (f"packages/{wheel(sources).name}", wheel(sources).read_bytes()),
        ("tlsrt.yaml.d/10.yaml", b"limits: {epoch_s: 77}\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    before = pids(host)
    assert "limits.epoch_s cannot change while tlsrt runs" in applied("--yes", code=EX_CONFIG)
    (tmp_path / "tlsrt.yaml.d/10.yaml").write_text("audit: {}\n")
    assert "to be installed: kettle 0.1.0" in applied("--dry-run", code=EX_CHANGED)
    assert not (host.environment.site / "kettle").exists() and pids(host) == before
    applied("--yes", code=EX_CHANGED)
    assert host.call(ADDRESS, "hello") == "hello world, for the 1. time"
    assert "unchanged" in applied("--yes", code=0)
    newer = wheel(sources, "0.2.0", title="title: it asks")
    (tmp_path / "packages" / newer.name).write_bytes(newer.read_bytes())
    assert "kettle 0.1.0 is installed: bring it to 0.2.0 with" in applied("--yes", code=EX_CONFIG)
    shutil.rmtree(tmp_path / "packages")
    for path in (tmp_path / "components.d").iterdir():
        path.unlink()
    applied("--yes", code=EX_CHANGED)
    assert pids(host) == before
