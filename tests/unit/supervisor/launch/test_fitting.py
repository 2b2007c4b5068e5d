"""Added components that cannot be had together: what was there first stays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.config.drop_ins import DropInFiles
from tlsrt.config.init import initialise
from tlsrt.config.load import parse_config
from tlsrt.config.schema import Config
from tlsrt.supervisor.launch import fitting as module
from tlsrt.supervisor.launch.fitting import fitting

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose components' code lies nowhere in particular."""
    monkeypatch.setattr(module, "code_roots", lambda config, components: [])
    initialise(tmp_path / "d", host="127.0.0.1", port=7443, now=NOW)
    for name in ("shared", "other"):
        (tmp_path / name).mkdir()
    return tmp_path


def host(folder: Path, needs: dict[str, str], more: str = "") -> Config:
    """Return a configuration with a component for each of these."""
    files: dict[str, bytes] = {}
    manifests: dict[str, bytes] = {}
    for name, wish in needs.items():
        text = f'manifest: 1\ncomponent: third/{name}\nclass: "{name}:X"\ntitle: x y z\nneeds: {wish}\n'
        files |= {f"third.{name}.yaml": f"package: {name}\n".encode(), f"third.{name}.manifest": text.encode()}
        manifests[name] = text.encode()
    known: DropInFiles = files
    path = folder / "d" / "tlsrt.yaml"
    return parse_config(
        path.read_bytes() + more.encode(),
        path,
        known,
        lambda package, name, by, place: (Path(package), manifests[package]),
    )


def left(config: Config) -> list[str]:
    return [one.name for one in fitting(config).failed]


def test_what_fits_is_as_it_was(folder: Path) -> None:
    config = host(folder, {"a": "{memory_mb: 3}", "b": f"{{read: [{folder}/shared]}}"})
    assert fitting(config) == config and config.failed == ()


def test_a_component_that_would_read_secrets_or_nothing_fails_alone(folder: Path) -> None:
    wishes = {"a": f"{{read: [{folder}/d]}}", "b": f"{{read: [{folder}/gone]}}", "c": "{memory_mb: 3}"}
    config = host(folder, wishes)
    found = fitting(config)
    assert [one.name for one in found.failed] == ["third/a", "third/b"]
    assert "keep code and secrets in folders apart" in found.failed[0].sentence
    assert [one.address for one in found.components if one.origin] == ["third/c"]
    assert {"third.a", "third.b"}.isdisjoint(loop.name for loop in found.loops)


def test_of_two_that_want_one_folder_the_one_that_was_there_stays(folder: Path) -> None:
    write = f"{{write: [{{path: {folder}/shared, why: it puts them there}}]}}"
    assert left(host(folder, {"a": write, "b": f"{{read: [{folder}/shared]}}"})) == ["third/b"]
    own = f'\ncomponents:\n  forth/own: {{class: "own:X", needs: {write}}}\n'
    assert left(host(folder, {"a": f"{{read: [{folder}/shared]}}"}, own)) == ["third/a"]
