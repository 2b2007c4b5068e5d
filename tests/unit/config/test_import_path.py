"""Where the runtime imports from: what it is started with, tried in a process of its own on folders of packages."""

from __future__ import annotations

import json
import site
import subprocess
from pathlib import Path

import pytest

from tlsrt.config import import_path
from tlsrt.config.import_path import inner_command, package_folder, package_folders

SAY = """
import json, sys
def found(name):
    try:
        return bool(__import__(name))
    except ImportError:
        return False
print(json.dumps({"flags": [sys.flags.isolated, sys.flags.no_site], "hook": hasattr(sys, "hook"),
    "cache": sys.pycache_prefix, **{name: found(name) for name in ("tlsrt", "yaml", "extra", "bcrypt", "json")},
    "json_is": sys.modules["json"].__file__}))
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages as pip makes it, with code that wants to run."""
    folder, named = tmp_path / "packages", tmp_path / "named"
    folder.mkdir()
    named.mkdir()
    (folder / "tlsrt").symlink_to(package_folder())
    (folder / "evil.pth").write_text(f"import sys; sys.hook = 1\n# a comment\n{named}\n/nowhere\n")
    (folder / "sitecustomize.py").write_text("import sys; sys.hook = 1\n")
    for name in ("bcrypt", "json", "yaml"):
        (folder / f"{name}.py").write_text("")
    (named / "extra.py").write_text("")
    monkeypatch.setattr(import_path, "is_checkout", lambda: False)
    monkeypatch.setattr(import_path, "package_folder", lambda: folder / "tlsrt")
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(folder), str(tmp_path / "missing")])
    return folder


def said(command: list[str]) -> dict[str, object]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, env={})
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_no_code_of_the_environment_runs_and_only_what_is_measured_is_found(packages: Path) -> None:
    found = said(inner_command(SAY, packages / "cache"))
    assert found["flags"] == [1, 1] and found["hook"] is False
    assert found["cache"] == str(packages / "cache")
    assert found["tlsrt"] is found["yaml"] is True
    assert found["bcrypt"] is found["extra"] is False
    assert not str(found["json_is"]).startswith(str(packages)), "the standard library comes first"


def test_a_component_may_import_what_was_measured_for_it(packages: Path) -> None:
    allow = "from tlsrt.config.import_path import also_measured; also_measured(['extra'])"
    found = said(inner_command(f"{allow}\n{SAY}"))
    assert found["extra"] is True, "from a folder that a .pth file names, as an editable install does"
    assert found["bcrypt"] is False


def test_the_folders_are_the_same_for_a_command_and_for_the_runtime(packages: Path) -> None:
    say = "import json; from tlsrt.config import import_path as p; print(json.dumps([*map(str, p.package_folders())]))"
    done = subprocess.run(inner_command(say), capture_output=True, text=True, timeout=20, check=True, env={})
    assert json.loads(done.stdout) == [str(folder) for folder in package_folders()] == [
        str(packages), str(packages.parent / "named"),
    ]  # fmt: skip


def test_a_checkout_finds_every_package() -> None:
    found = said(inner_command(SAY))
    assert found["flags"] == [1, 1] and found["tlsrt"] is found["yaml"] is True
    assert found["cache"] is None
