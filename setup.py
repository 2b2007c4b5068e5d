"""What `pyproject.toml` cannot say: man pages and completion are made at each build, and installed below share/."""

import subprocess
import sys
from pathlib import Path

from setuptools import setup

SHARE = Path("build", "share")

subprocess.run([sys.executable, "-I", "-B", "distribution/share.py", SHARE], check=True)
folders = sorted({path.parent for path in SHARE.rglob("*") if path.is_file()})
setup(
    data_files=[
        (f"share/{folder.relative_to(SHARE)}", sorted(str(path) for path in folder.iterdir() if path.is_file()))
        for folder in folders
    ]
)
