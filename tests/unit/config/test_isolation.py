"""Packages of one component alone: what may lie there, and what a process imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlsrt.config.isolation import check_isolated, isolated_folder
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.component.isolation import (
    _site_packages,
    conflict,
    next_number,
    number_of,
    numbered,
    remove_folder,
    sweep,
)


def folder_with(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "third.kettle@1"
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_what_takes_the_place_of_tlsrt_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, boil="")
    check_isolated(folder)
    for name in ("msgpack", "tlsrt", "json", "sitecustomize"):
        (folder / f"{name}.py").touch()
        with pytest.raises(ConfigError, match=r"takes the place of|runs at its start"):
            check_isolated(folder)
        (folder / f"{name}.py").unlink()


def test_a_link_and_a_pipe_are_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, boil="")
    (folder / "deep").mkdir()
    (folder / "deep" / "out").symlink_to("/etc")
    with pytest.raises(ConfigError, match="deep/out is a link"):
        check_isolated(folder)
    (folder / "deep" / "out").unlink()
    os.mkfifo(folder / "deep" / "pipe")
    with pytest.raises(ConfigError, match="deep/pipe is no regular file"):
        check_isolated(folder)


def test_a_process_imports_tlsrt_and_its_own_packages_only(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, boil="V = 2\n", msgpack="V = 666\n", json="V = 666\n")
    program = f"""
import sys, pathlib, pytest
from tlsrt.config.import_path import only_isolated
only_isolated(pathlib.Path({str(folder)!r}))
assert "pytest" not in sys.modules
import boil, json, msgpack, psutil, yaml, cryptography.x509, tlsrt.config.load
assert boil.V == 2 and not hasattr(json, "V") and not hasattr(msgpack, "V")
for name in ("pytest", "hypothesis", "pip"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(name)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_the_number_in_a_drop_in() -> None:
    text = b"# mine\npackage: kettle\nisolated: 3  # of it\noptions: {watts: 2}\n"
    assert number_of(text, "it") == 3
    assert numbered(text, 4) == b"# mine\npackage: kettle\nisolated: 4  # of it\noptions: {watts: 2}\n"
    assert numbered(b"package: kettle\r\nisolated: 3\r\n", 4) == b"package: kettle\r\nisolated: 4\r\n"
    assert number_of(b"package: kettle\n", "it") == 0
    with pytest.raises(ConfigError, match="does not say"):
        numbered(b"package: kettle\n", 4)


FORMS = [
    b"package: kettle\r\nisolated: 2\r\n", b"isolated : 2\n", b"{package: kettle, isolated: 2}\n",
    b"\xef\xbb\xbfisolated: 2\n", b"'isolated': 2\n", b"isolated:\n  2\n",
]  # fmt: skip
UNREADABLE = [b"", b"isolated: [\n", b"\xff", b"isolated: two\n", b"isolated: 0x2\n", b"isolated: 2\nisolated: 3\n"]


@pytest.mark.parametrize("text", [*FORMS, *UNREADABLE])
def test_packages_in_force_stay_however_their_number_is_written(tmp_path: Path, text: bytes) -> None:
    config = tmp_path / "tlsrt.yaml"
    isolated_folder(config, "third/kettle", 2).mkdir(parents=True)
    (tmp_path / "components.d").mkdir()
    (tmp_path / "components.d" / "third.kettle.yaml").write_bytes(text)
    sweep(config)
    assert isolated_folder(config, "third/kettle", 2).is_dir()
    if text in FORMS:
        assert number_of(text, "it") == 2
    else:
        with pytest.raises(ConfigError):
            number_of(text, "it")


def test_metadata_that_a_package_bundles_are_not_a_second_place(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3" / "site-packages"
    for name in ("setuptools-1.0.dist-info", "setuptools/_vendor/wheel-1.0.dist-info"):
        (site / name).mkdir(parents=True)
        (site / name / "METADATA").touch()
    assert _site_packages(tmp_path) == site


def test_what_no_drop_in_names_is_removed(tmp_path: Path) -> None:
    config = tmp_path / "tlsrt.yaml"
    for number in (1, 2):
        made = isolated_folder(config, "third/kettle", number)
        (made / "deep").mkdir(parents=True)
        (made / "deep" / "a.py").touch(0o444)
        (made / "deep").chmod(0o555)
        made.chmod(0o555)
    assert next_number(config, "third/kettle") == 3
    (tmp_path / "components.d").mkdir()
    (tmp_path / "components.d" / "third.kettle.yaml").write_text("package: kettle\nisolated: 2\n")
    sweep(config)
    assert [path.name for path in (tmp_path / "tlsrt.packages").iterdir()] == ["third.kettle@2"]
    remove_folder(tmp_path / "tlsrt.packages")
    assert next_number(config, "third/kettle") == 1


def test_the_sentence_for_a_version_that_tlsrt_does_not_have() -> None:
    said = "The conflict is caused by:\n    kettle 0.1 depends on msgpack<1\n    The user requested msgpack==1.2\n"
    assert conflict(said, {"msgpack": "1.2"}).startswith("kettle 0.1 depends on msgpack<1, and tlsrt itself has")
    assert conflict(said, {"psutil": "7"}) == ""
