"""What a component needs of installed distributions: by their metadata, and by what its own sources import."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tlsrt.config import package_search, packages
from tlsrt.config.components import ComponentConfig
from tlsrt.config.distributions import closure, imported_names, installed, normalized, owners
from tlsrt.config.import_path import package_folders
from tlsrt.config.measure import measure
from tlsrt.config.packages import code_of
from tlsrt.config.schema import Config


def distribution(site: Path, name: str, files: list[str], *requires: str, version: str = "1.0") -> None:
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(f"# {file}\n")
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}\nRequires-Dist: not\n"
    )
    (info / "RECORD").write_text(
        "".join(f"{file},sha256=x,1\n" for file in [*files, f"{info.name}/RECORD", "../../bin/x"])
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    distribution(
        folder, "My_Camera", ["camera/__init__.py", "camera/model.bin"], "Paho.MQTT[ws]>=1", "pip; extra == 'x'"
    )
    distribution(
        folder, "paho-mqtt", ["paho/mqtt/client.py", "paho/__init__.py"], "sockets (>=2); extra == \"ws\"",
        "toolbox; extra == 'dev'", "not-installed", version="2.1",
    )  # fmt: skip
    distribution(folder, "sockets", ["sockets.py", "_sockets.cpython-313-x.so"])
    distribution(folder, "toolbox", ["toolbox/__init__.py"])
    distribution(folder, "unrelated", ["unrelated/__init__.py"])
    distribution(folder, "pip", ["pip/__init__.py"])
    distribution(folder, "lazy", ["lazy/__init__.py"])
    (folder / "camera/__init__.py").write_text("def late():\n    import lazy.part as l, json\n")
    for module in (package_search, packages):
        monkeypatch.setattr(module, "is_checkout", lambda: False)
    for module in (package_search, packages):
        monkeypatch.setattr(module, "package_folders", lambda: [folder, *package_folders()])
    return folder


@pytest.fixture
def with_camera(config: Config) -> Config:
    return replace(config, components=(*config.components, ComponentConfig("third", "camera", "camera:Camera")))


def test_the_closure_follows_extras_that_are_asked_for(site: Path) -> None:
    known = installed([site])
    assert [one.name for one in closure([known["my-camera"]], known)] == ["my-camera", "paho-mqtt", "sockets"]
    assert owners(known)["_sockets"].name == "sockets"
    assert normalized("Paho._-MQTT") == "paho-mqtt"


def test_a_component_brings_what_it_requires_and_what_it_imports(site: Path, with_camera: Config) -> None:
    code = code_of(with_camera)
    assert {"camera", "paho", "sockets", "_sockets", "lazy"} <= code.names
    assert not {"toolbox", "unrelated", "pip", "json"} & code.names
    found = measure(with_camera)
    assert {
        "component/camera/__init__.py", "component/camera/model.bin", "dep/paho/mqtt/client.py", "dep/sockets.py",
        "dep/_sockets.cpython-313-x.so", "dep/lazy/__init__.py", "version/paho-mqtt/2.1/dep/paho",
        "version/my-camera/1.0/component/camera",
    } <= found.keys()  # fmt: skip
    assert not [name for name in found if "unrelated" in name or "dep/pip/" in name]


@pytest.mark.parametrize("file", ["paho/mqtt/client.py", "camera/model.bin", "lazy/__init__.py", "paho/new.py"])
def test_each_change_in_what_a_component_loads_shows(site: Path, with_camera: Config, file: str) -> None:
    before = measure(with_camera)
    with (site / file).open("a") as stream:
        stream.write("evil = 1\n")
    after = measure(with_camera)
    [name] = [name for name in after if before.get(name) != after[name]]
    assert name.endswith(file)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("site/sockets/__init__.py", "dep/sockets/__init__.py"),
        ("site/sockets.abi3.so", "dep/sockets.abi3.so"),
        ("earlier/sockets.py", "dep/sockets.py@2"),
        ("earlier/paho/__init__.py", "dep/paho@2/__init__.py"),
    ],
)
def test_what_an_import_finds_instead_of_a_recorded_file_is_a_change(
    site: Path, with_camera: Config, monkeypatch: pytest.MonkeyPatch, file: str, name: str
) -> None:
    (earlier := site.with_name("earlier")).mkdir()
    for module in (package_search, packages):
        monkeypatch.setattr(module, "package_folders", lambda: [earlier, site, *package_folders()])
    before = measure(with_camera)
    shadow = site.parent / file
    shadow.parent.mkdir(parents=True, exist_ok=True)
    shadow.write_text("evil = 1\n")
    after = measure(with_camera)
    assert {one for one in after if before.get(one) != after[one]} == {name}
    assert before.keys() <= after.keys()


def test_a_component_without_metadata_brings_what_it_imports(site: Path, config: Config) -> None:
    (site / "plain.py").write_text("from paho.mqtt import client\n")
    config = replace(config, components=(*config.components, ComponentConfig("third", "plain", "plain:Plain")))
    assert {"plain", "paho"} <= code_of(config).names
    assert "dep/paho/mqtt/client.py" in measure(config)


def test_the_hooks_of_every_folder_are_measured(site: Path, config: Config) -> None:
    (site / "evil.pth").write_text("import os\n")
    (site / "usercustomize.py").write_text("import os\n")
    assert {"site/evil.pth", "site/usercustomize.py", "python/os.py"} <= measure(config).keys()


def test_names_in_import_statements(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import one, two.sub as t, three  # four\nfrom five.six import seven\nfrom . import eight\n"
        "def f():\n    import nine; from ten import eleven\nx = 'import'\n"
    )
    assert imported_names([tmp_path / "a.py"]) == {"one", "two", "three", "five", "nine"}
