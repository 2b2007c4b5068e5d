"""Wheels of a few lines, written as the zip files that they are: no build, no network."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_wheel(
    folder: Path, name: str, files: Mapping[str, str], *, version: str = "0.1", requires: Sequence[str] = (),
    component: bool = False,
) -> Path:  # fmt: skip
    """Write a wheel with these files; with `component`, one that brings the component of the package `name`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {one}" for one in requires)]
    members = {
        **files,
        f"{info}/METADATA": "\n".join([*lines, "", ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **({f"{info}/entry_points.txt": f"[tlsrt.components]\n{name} = {name}\n"} if component else {}),
    }
    record = "".join(f"{one},,\n" for one in (*members, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**members, f"{info}/RECORD": record}.items():
            archive.writestr(member, text)
    return path
