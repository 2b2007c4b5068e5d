"""A small package as `component new` writes it, as a wheel that needs no build: `component add` takes it offline."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

from bench.host import SUPERVISOR

NAME = "bench_kettle"
ADDRESS = f"third/{NAME}"
_VERSION = "0.1.0"


def kettle_wheel(folder: Path) -> Path:
    """Write the package into a folder and return its wheel."""
    subprocess.run([SUPERVISOR, "component", "new", NAME], cwd=folder, check=True, capture_output=True, timeout=60)
    wheel = folder / f"{NAME}-{_VERSION}-py3-none-any.whl"
    info = f"{NAME}-{_VERSION}.dist-info"
    files = {f"{NAME}/{path.name}": path.read_text() for path in (folder / NAME / NAME).iterdir() if path.is_file()}
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {_VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[tlsrt.components]\n{NAME} = {NAME}\n",
    }
    record = f"{info}/RECORD"
    files[record] = "".join(f"{name},,\n" for name in (*files, record))
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return wheel
