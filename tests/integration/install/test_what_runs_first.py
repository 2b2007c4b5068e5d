"""What would run before a start has measured anything, on an installed host.

A line of code in a `.pth` file runs in every Python of an environment, so in the command that an operator types. It
runs in no process of the runtime, and the start that follows is refused by its name.
"""

from __future__ import annotations

import importlib.util
import py_compile
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hosts.installation import Environment, changeable, run, scratch, wheel
from hosts.installed_host import InstalledHost

SPY = "import os, sys; open({spy!r}, 'a').write(' '.join(sys.orig_argv[:4]).replace(chr(10), ' ') + chr(10))\n"


@pytest.fixture(scope="module")
def environment() -> Environment:
    return changeable()


@pytest.fixture(scope="module")
def host(environment: Environment) -> Iterator[InstalledHost]:
    host = InstalledHost(environment, scratch() / "first")
    host.like_new()
    yield host
    shutil.rmtree(host.folder)


@pytest.fixture
def spy(tmp_path: Path) -> Path:
    """A file in which whatever runs the code of these tests leaves its command line."""
    return tmp_path / "spy"


def ran_in(spy: Path) -> list[str]:
    return spy.read_text().splitlines() if spy.exists() else []


@pytest.mark.parametrize("name", ["evil.pth", "usercustomize.py"])
def test_code_of_the_environment_runs_in_no_process_of_the_runtime_and_is_refused(
    host: InstalledHost, spy: Path, name: str
) -> None:
    hook = host.environment.site / name
    hook.write_text(SPY.format(spy=str(spy)))
    try:
        assert f"this host is not what was sealed: new site/{name};" in host.refused()
    finally:
        hook.unlink()
    assert not [line for line in ran_in(spy) if "-I" in line], ran_in(spy)
    assert ran_in(spy) or name != "evil.pth", "it runs in the command, else this proves nothing"


def test_a_module_that_a_package_would_import_if_it_were_there_does_not_run(host: InstalledHost, spy: Path) -> None:
    """Cryptography tries `bcrypt`; nothing of tlsrt requires it, so it is not measured and not found."""
    module = host.environment.site / "bcrypt.py"
    module.write_text(SPY.format(spy=str(spy)))
    try:
        run(host.environment.program("python"), "-c", "import cryptography.hazmat.primitives.serialization.ssh")
        assert len(ran_in(spy)) == 1, "it is what Python would import"
        with host.started():
            assert host.status()["warnings"] == []
    finally:
        module.unlink()
    assert not [line for line in ran_in(spy) if "-I" in line], ran_in(spy)


def test_what_would_be_imported_instead_of_a_requirement_is_refused(host: InstalledHost) -> None:
    """A component requires a module of one file, and a folder of its name, which no metadata names, comes first."""
    site, config = host.environment.site, host.config.read_text()
    before = set(site.iterdir())
    noted = "import single\n\n\nclass N: ...\n"
    for name, source, metadata in (("noted", noted, "Requires-Dist: single\n"), ("single", "", "")):
        (info := site / f"{name}-1.0.dist-info").mkdir()
        (site / f"{name}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}")
        (info / "RECORD").write_text(f"{name}.py,,\n")
    host.config.write_text(yaml.safe_dump({**yaml.safe_load(config), "components": {"third/n": {"class": "noted:N"}}}))
    try:
        host.seal()
        (site / "single").mkdir()
        (site / "single/__init__.py").touch()
        assert "this host is not what was sealed: new dep/single/__init__.py;" in host.refused()
    finally:
        for path in {*site.iterdir()} - before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        host.config.write_text(config)
        host.seal()


def test_bytecode_beside_a_source_does_not_run(host: InstalledHost, spy: Path) -> None:
    """Bytecode with more in it, which Python takes for that of the unchanged source: same time and size (PEP 552)."""
    source = host.environment.site / "tlsrt/loops/gate/gate.py"
    cached = Path(importlib.util.cache_from_source(str(source)))
    before = cached.read_bytes()
    evil = spy.with_name("evil.py")
    evil.write_text(source.read_text() + "\n" + SPY.format(spy=str(spy)))
    py_compile.compile(str(evil), cfile=str(evil) + "c", doraise=True)
    compiled, status = Path(str(evil) + "c").read_bytes(), source.stat()
    of_source = int(status.st_mtime).to_bytes(4, "little") + status.st_size.to_bytes(4, "little")
    cached.write_bytes(compiled[:8] + of_source + compiled[16:])
    try:
        run(host.environment.program("python"), "-I", "-B", "-c", "import tlsrt.loops.gate.gate")
        assert len(ran_in(spy)) == 1, "it is what Python would run"
        with host.started():
            assert host.call("primary/kernel", "uname")["system"] == "Linux"
    finally:
        cached.write_bytes(before)
    assert len(ran_in(spy)) == 1, f"and no start: {ran_in(spy)}"


def test_bytecode_of_the_host_that_was_changed_is_refused_and_without_it_a_start_works(host: InstalledHost) -> None:
    folder = host.folder / "tlsrt.bytecode"
    [cached] = folder.rglob("gate/gate.*.pyc")
    before = cached.read_bytes()
    cached.unlink()  # other hosts have the same file
    cached.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert "not what was sealed: changed bytecode;" in host.refused()
    shutil.rmtree(folder)
    with host.started():
        pass
    host.seal()
    assert cached.exists()


def test_the_same_wheel_again_changes_nothing(host: InstalledHost) -> None:
    options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--force-reinstall")
    run(sys.executable, "-m", "pip", "--python", host.environment.program("python"), "install", *options, wheel())
    assert "nothing differs" in host.do("seal", "--diff", "--config", host.config)
    with host.started():
        assert host.status()["warnings"] == []


@pytest.mark.parametrize(
    ("version", "words"), [("0.1.1", "0.1.1: 2 files"), ("0.0.9", "0.0.9, which is older: 2 files")]
)
def test_another_version_is_named_before_its_files(host: InstalledHost, version: str, words: str) -> None:
    package = host.environment.site / "tlsrt"
    init, errors = package / "__init__.py", package / "errors.py"
    before = {path: path.read_bytes() for path in (init, errors)}
    init.write_bytes(before[init].replace(b'"0.1.0"', f'"{version}"'.encode()))
    errors.write_bytes(before[errors] + b"\n")
    try:
        assert f"not what was sealed: tlsrt 0.1.0 -> {words};" in host.refused()
        found = host.do("seal", "--diff", "--config", host.config).splitlines()
    finally:
        for path, data in before.items():
            path.write_bytes(data)
    assert found == [f"tlsrt 0.1.0 -> {words}", "changed tlsrt/__init__.py", "changed tlsrt/errors.py"]
