"""Versions that libraries ask for after the seal: of a process that finds its folders of packages no more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tlsrt.loops.runtime.remembered_versions import versions_in

ASK = """
import importlib.metadata as metadata, shutil, sys
sys.path.insert(0, {folder!r})
from tlsrt.loops.runtime.remembered_versions import remember_versions
remember_versions()
shutil.rmtree({folder!r})
print(metadata.version("kettle.Parts"), metadata.version("kettle-parts"), metadata.metadata("kettle_parts")["Name"])
print(metadata.requires("kettle_parts"), metadata.files("kettle_parts"))
try:
    metadata.version("absent")
except metadata.PackageNotFoundError as error:
    print(error)
print(metadata.version("msgpack") != "")
"""


def test_names_of_folders_tell_names_and_versions() -> None:
    folders = ["Kettle_Parts-1.2.dist-info", "kettle.parts-9.dist-info", "x-1.0+a.b.dist-info"]
    names = [*folders, "x.py", "y.dist-info", "-1.dist-info"]
    assert versions_in(names) == {"kettle-parts": ("Kettle_Parts", "1.2"), "x": ("x", "1.0+a.b")}


def test_a_version_is_known_when_its_folder_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    (folder / "kettle_parts-1.2.dist-info").mkdir(parents=True)
    (folder / "kettle_parts-1.2.dist-info" / "METADATA").write_text("Name: kettle_parts\nVersion: 1.2\n")
    done = subprocess.run(
        [sys.executable, "-B", "-c", ASK.format(folder=str(folder))],
        capture_output=True, text=True, timeout=30, cwd=tmp_path, env={**os.environ},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "1.2 1.2 kettle_parts", "None None", "No package metadata was found for absent", "True",
    ]  # fmt: skip
