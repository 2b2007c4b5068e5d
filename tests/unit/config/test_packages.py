"""Where code lies, found without importing it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from tlsrt.config import import_path, package_search
from tlsrt.config.components import ComponentConfig
from tlsrt.config.import_path import EXTRA, NEEDED, USED, is_checkout, package_folder
from tlsrt.config.package_search import component_roots
from tlsrt.config.packages import code_roots, roots, worker_code_of
from tlsrt.config.programs import ProgramConfig
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError


def closure(names: list[str]) -> set[str]:
    """The distributions that `names` need, without extras, on this Python."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name not in found:
            found.add(name)
            wanted = map(Requirement, importlib.metadata.requires(name) or ())
            names += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def top_level(distribution: str) -> set[str]:
    """The names one can import from a distribution, and its folders of shared libraries."""
    files = importlib.metadata.files(distribution) or []
    parts = {file.parts[0] for file in files if file.parts[0] != ".." and ".dist-info" not in file.parts[0]}
    return {part if part.endswith(".libs") else part.partition(".")[0] for part in parts} - {"__pycache__"}


def with_component(config: Config, class_path: str) -> Config:
    return replace(config, components=(*config.components, ComponentConfig("third", "notes", class_path)))


def test_the_list_of_dependencies_is_their_closure() -> None:
    wanted = {"cryptography", "PyYAML", "pyzmq", "msgpack", "psutil"}
    names = set().union(*(top_level(name) for name in closure(list(wanted))))
    assert names - set(package_search.LIBRARIES) == {*NEEDED, *USED}
    assert {name for name in names if name.endswith(".libs")} <= set(package_search.LIBRARIES)


def test_what_an_extra_brings_is_measured_where_it_is() -> None:
    there = {name for name in EXTRA if find_spec(name) is not None}  # the lowest versions are tried without some
    assert "h11" in there
    assert {f"dep/{name}" for name in there} <= {root.name for root in package_search.dependencies()}
    assert closure([name.replace("_", "-") for name in there]) == {name.replace("_", "-") for name in there}


def test_what_a_worker_imports_is_measured_and_shown_to_it_where_it_is_installed(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "model_of_an_extra"
    package.mkdir()
    (package / "__init__.py").write_text("import another_one_of_it")
    (package / "weights.bin").write_bytes(b"weights")
    (tmp_path / "another_one_of_it.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    worker = "tlsrt.loops.models.answers"
    names = ("model_of_an_extra", "not_installed_model")
    programs = (ProgramConfig(name="model", why="a test", worker=worker, imports=names),)
    component = ComponentConfig("secondary", "built_in", "tlsrt.loops.secondary.store:Store", programs=programs)
    code = worker_code_of(config)(component, worker)
    wanted = {package, tmp_path / "another_one_of_it.py"}
    assert wanted <= {root.path for root in code.roots}
    found = roots(replace(config, components=(*config.components, component)))
    assert wanted <= {root.path for root in found}
    assert not any("not_installed_model" in root.name for root in found)
    without = replace(component, programs=())
    assert wanted.isdisjoint(root.path for root in worker_code_of(config)(without, worker).roots)


def test_finding_imports_nothing() -> None:
    code = (
        "import sys; from tlsrt.config import import_path, package_search; package_search.dependencies();"
        "print([name for name in sys.modules if name.partition('.')[0] in {*import_path.NEEDED, *import_path.USED}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "[]\n"


def test_this_is_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(import_path, "package_folder", lambda: tmp_path / "tlsrt")
    assert not is_checkout()
    (tmp_path / "pyproject.toml").touch()
    assert is_checkout()


def test_roots_hold_tlsrt_and_every_dependency(config: Config) -> None:
    found = {root.name: root.path for root in roots(config)}
    assert found["tlsrt"] == package_folder()
    assert {f"dep/{name}" for name in NEEDED} <= found.keys()
    assert not any(name.startswith("component/") for name in found)


def test_a_component_package_a_module_and_a_namespace(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noted").mkdir()
    (tmp_path / "noted/__init__.py").write_text("raise AssertionError('imported')")
    (tmp_path / "single.py").write_text("raise AssertionError('imported')")
    for place in ("one", "two"):
        (tmp_path / place / "spread" / place).mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / place)
    monkeypatch.syspath_prepend(tmp_path)
    for package in ("noted.sub", "single", "spread.one", "zmq", "tlsrt.loops.third.io"):
        config = with_component(config, f"{package}:Notes")
    assert [(root.name, root.path) for root in component_roots(config.components)] == [
        ("component/noted", tmp_path / "noted"),
        ("component/single.py", tmp_path / "single.py"),
        ("component/spread", tmp_path / "two/spread"),
        ("component/spread@2", tmp_path / "one/spread"),
    ]


@pytest.mark.parametrize("package", ["no_such_package_anywhere", "sys"])
def test_a_component_that_is_not_installed(config: Config, package: str) -> None:
    with pytest.raises(ConfigError) as caught:
        component_roots(with_component(config, f"{package}:Notes").components)
    assert caught.value.problems == (
        f"component third/notes: this Python has no package {package}: install it beside tlsrt with pip, "
        f"or correct its class {package}:Notes",
    )


def test_a_missing_dependency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_search, "NEEDED", ("no_such_package_anywhere",))
    package_search.dependencies.cache_clear()
    with pytest.raises(ConfigError, match="the Python package no_such_package_anywhere is not installed: install"):
        package_search.dependencies()


def test_code_roots_hold_what_a_loop_imports_and_no_keys(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts/noted").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "parts")
    found = code_roots(config, with_component(config, "noted:Notes").components)
    assert tmp_path / "parts/noted" in found

    def inside(path: Path) -> bool:
        return any(path.is_relative_to(root) for root in found)

    import zmq

    assert inside(Path(os.__file__)) and inside(Path(zmq.__file__).parents[1]), "all of the folder of packages"
    assert inside(package_folder())
    for entry in package_folder().iterdir():
        assert inside(entry.resolve()), "the folder a room links to"
    assert not inside(package_folder().parent / "var" / "master.key")
    assert not inside(config.path)
    assert all(path.exists() for path in found)
    inner = [one for one in found if any(one != other and one.is_relative_to(other) for other in found)]
    assert all("dist-packages" in one.parts for one in inner), "Debian's lie in the library, which hides them"
