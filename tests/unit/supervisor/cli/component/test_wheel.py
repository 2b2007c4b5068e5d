"""Wheels of components are looked at, and nothing of them runs."""

from __future__ import annotations

import io
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.config.init import initialise
from tlsrt.config.manifest import MANIFEST_MAX, parse_manifest
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli import main
from tlsrt.supervisor.cli.component.sources import check_calls_of
from tlsrt.supervisor.cli.component.wheel import offering_of, pip

MANIFEST = b"manifest: 1\n"


def wheel(folder: Path, files: dict[str, bytes]) -> str:
    path = folder / "kettle-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def files(entries: str = "kettle = kettle\n", **more: bytes) -> dict[str, bytes]:
    return {
        "kettle/__init__.py": b"raise SystemExit('it ran')",
        "kettle/tlsrt.yaml": MANIFEST,
        "kettle-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: Kettle\nVersion: 1.0\n\nlong: text\n",
        "kettle-1.0.dist-info/entry_points.txt": f"[tlsrt.components]\n{entries}".encode(),
        **more,
    }


def refused(folder: Path, content: dict[str, bytes], *, isolated: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        offering_of(wheel(folder, content), folder, isolated=isolated)
    return str(caught.value)


def test_a_wheel_says_what_it_brings(tmp_path: Path) -> None:
    found = offering_of(wheel(tmp_path, files()), tmp_path)
    assert (found.distribution, found.version, found.wheel) == (
        "Kettle",
        "1.0",
        tmp_path / "kettle-1.0-py3-none-any.whl",
    )
    [one] = found.offers
    assert (one.package, one.name, one.manifest) == ("kettle", "tlsrt.yaml", MANIFEST)


def test_a_wheel_may_bring_several(tmp_path: Path) -> None:
    content = files("kettle = kettle\nfan = kettle:fan\n") | {"kettle/fan.tlsrt.yaml": b"fan"}
    assert [one.name for one in offering_of(wheel(tmp_path, content), tmp_path).offers] == [
        "tlsrt.yaml", "fan.tlsrt.yaml",
    ]  # fmt: skip


def test_a_wheel_without_components_is_refused(tmp_path: Path) -> None:
    content = files() | {"kettle-1.0.dist-info/entry_points.txt": b"[console_scripts]\nkettle = kettle:main\n"}
    assert refused(tmp_path, content) == "Kettle 1.0 brings no component: it has no entry point of tlsrt.components"


def test_a_manifest_that_is_not_there_is_told(tmp_path: Path) -> None:
    content = files()
    del content["kettle/tlsrt.yaml"]
    assert "names the manifest kettle/tlsrt.yaml, and has none: list it as data" in refused(tmp_path, content)


def test_an_entry_point_out_of_the_package_is_refused(tmp_path: Path) -> None:
    assert "names no manifest" in refused(tmp_path, files("kettle = ../../etc\n"))


def test_a_manifest_without_end_is_refused(tmp_path: Path) -> None:
    content = files() | {"kettle/tlsrt.yaml": b"#" * (MANIFEST_MAX + 1)}
    assert f"larger than {MANIFEST_MAX} bytes" in refused(tmp_path, content)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"#!/bin/sh\n"])
def test_what_is_no_wheel_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="cannot read the wheel"):
        offering_of(str(path), tmp_path)


def test_a_place_that_holds_no_package_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        offering_of(f"{tmp_path}/nothing", tmp_path)
    with pytest.raises(ConfigError, match=r"has no pyproject.toml"):
        offering_of(str(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("kettle.pth", "runs in every Python of this environment"),
        ("sitecustomize.py", "runs in every Python of this environment"),
        ("kettle-1.0.data/scripts/tlsrt", "goes to places outside of the package"),
        ("kettle-1.0.data/data/etc/cron.d/kettle", "goes to places outside of the package"),
        ("tlsrt/supervisor/more.py", "takes the place of tlsrt"),
        ("yaml/__init__.py", "takes the place of yaml"),
        ("json/__init__.py", "takes the place of json"),
        ("_yaml.cpython-313-x86_64-linux-gnu.so", "takes the place of _yaml"),
        ("pytest/__init__.py", "belongs to pytest"),
    ],
)
def test_a_wheel_that_brings_what_is_no_component_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    said = refused(tmp_path, files() | {name: b""})
    assert said == f"Kettle brings {name}, which {reason}: nothing was installed"
    if "belongs to" not in reason:  # which what is isolated is beside nobody
        assert refused(tmp_path, files() | {name: b""}, isolated=True) == said


@pytest.mark.parametrize("isolated", [False, True])
def test_a_requirement_with_an_address_of_its_own_is_refused(tmp_path: Path, isolated: bool) -> None:
    name = "kettle-1.0.dist-info/METADATA"
    head = b"Metadata-Version: 2.1\nName: Kettle\nVersion: 1.0\nRequires-Dist: "
    for one in (b"evil @ https://example.org/evil.tar.gz", b"evil[a]@file:///evil", b"evil\n @ https://example.org/e"):
        with pytest.raises(ConfigError, match=r"Kettle requires evil.*, which names an address instead of a version"):
            offering_of(wheel(tmp_path, files() | {name: head + one + b"\n\n"}), tmp_path, isolated=isolated)
    for one in (b"boil>=1; extra == 'a@b'", b"boil"):
        assert offering_of(wheel(tmp_path, files() | {name: head + one + b"\n\n"}), tmp_path, isolated=isolated)
    with pytest.raises(ConfigError, match=r"the metadata of .* are larger than"):
        offering_of(wheel(tmp_path, files() | {name: head + b"a" * (1 << 20)}), tmp_path, isolated=isolated)


def test_a_package_that_another_distribution_has_is_refused(tmp_path: Path) -> None:
    content = files("kettle = pytest\n") | {"pytest/tlsrt.yaml": b""}
    assert "belongs to pytest, which is installed" in refused(tmp_path, content)


def test_bundled_metadata_is_not_the_wheels_own(tmp_path: Path) -> None:
    content = {"kettle/_vendor/other-2.0.dist-info/METADATA": b"Name: other\nVersion: 2.0\n", **files()}
    assert offering_of(wheel(tmp_path, content), tmp_path).distribution == "Kettle"
    assert "2 folders of metadata" in refused(tmp_path, {**files(), "other-2.0.dist-info/METADATA": b""})


def test_a_licence_beside_the_package_is_no_code(tmp_path: Path) -> None:
    assert offering_of(wheel(tmp_path, files() | {"LICENSE": b"", "json": b""}), tmp_path).distribution == "Kettle"


def test_what_a_class_in_a_wheel_calls_must_stand_in_its_manifest(tmp_path: Path) -> None:
    manifest = b"manifest: 1\ncomponent: third/kettle\nclass: 'kettle.boiling:Kettle'\ntitle: it boils\n"
    source = b"class Kettle(Component):\n    kernel = peer('primary/kernel')\n\nraise SystemExit('it ran')\n"
    content = files() | {"kettle/tlsrt.yaml": manifest, "kettle/boiling.py": source}
    found = offering_of(wheel(tmp_path, content), tmp_path)
    with pytest.raises(ConfigError, match="third/kettle calls primary/kernel, which `calls`"):
        check_calls_of(parse_manifest(manifest, Path("kettle/tlsrt.yaml")), "third/kettle", found, ())
    asked = "{methods: [uname], why: it asks}"
    listed = manifest + f"calls:\n  primary/kernel: {asked}\n  third/io: {asked}\n".encode()
    assert check_calls_of(parse_manifest(listed, Path("kettle/tlsrt.yaml")), "third/kettle", found, ()) == [
        "remark: kettle/tlsrt.yaml:6:3: its class does not call uname of primary/kernel",
        "remark: kettle/tlsrt.yaml:7:3: its class declares no peer third/io, which `calls` lists",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "third/kettle calls primary/kernel, which `calls`"),
        ("third/kettle -> primary/kernel", "there is no terminal to ask at"),
        ("third/* -> primary/kernel", "there is no terminal to ask at"),
    ],
)
def test_an_update_counts_the_operators_own_lines_and_none_of_the_old_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    initialise(tmp_path / "var", host="127.0.0.1", port=7443, now=datetime(2026, 1, 2, tzinfo=UTC))
    manifest = b"manifest: 1\ncomponent: third/kettle\nclass: 'kettle.boiling:Kettle'\ntitle: it boils\n"
    source = b"class Kettle(Component):\n    kernel = peer('primary/kernel')\n"
    content = files() | {"kettle/tlsrt.yaml": manifest, "kettle/boiling.py": source}
    folder = tmp_path / "var/components.d"
    folder.mkdir()
    old = b"calls: {primary/kernel: {methods: [uname], why: it asks}}\n"
    (folder / "third.kettle.manifest").write_bytes(manifest + old)
    is_own = line.startswith("third/kettle")
    own = f"policy: {{'{line}': [uname]}}\n" if is_own else ""
    (folder / "third.kettle.yaml").write_text(f"package: kettle\n{own}")
    file = tmp_path / "var/tlsrt.yaml"
    if line and not is_own:
        file.write_text(file.read_text().replace("\npolicy:\n", f"\npolicy:\n  {line}: [uname]\n"))
    words = ["component", "update", "third/kettle", wheel(tmp_path, content), "--config", str(file)]
    assert main.main(words) != 0 and said in capsys.readouterr().err


def test_a_manifest_alone_has_no_packages_to_isolate(tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text("manifest: 1\n")
    assert offering_of(str(file), tmp_path).wheel is None
    with pytest.raises(ConfigError, match=r"broker\.yaml is a manifest alone, .* has no packages; remove --isolated"):
        offering_of(str(file), tmp_path, isolated=True)


def test_a_folder_that_cannot_be_built_without_a_network_is_told_what_to_give_instead() -> None:
    said = "ERROR: No matching distribution found for setuptools>=77"
    with pytest.raises(ConfigError, match=r"cannot make a wheel of kettle: .* cannot be fetched: give a wheel"):
        pip(what="make a wheel of kettle", python=(sys.executable, "-c", f"raise SystemExit({said!r})"))


def test_a_module_in_the_working_folder_is_not_run_as_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    pip("--version", what="ask pip")
