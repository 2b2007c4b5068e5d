"""Debian's packages unpacked beside what is installed: nothing is configured, and no program of the machine changes."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hosts.installation import once

FOLDER = Path("/usr/local/lib/tlsrt-tests")
_APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Sandbox::User=root")


def unpacked(name: str, packages: Sequence[str], missing_of: str = "") -> Path:
    """Return the folder with these packages, and with what is not installed of what `missing_of` needs.

    Raises AssertionError with what apt-get says.
    """
    assert os.geteuid() == 0, "a virtual machine shows the files of this one to root alone: run it as root"
    FOLDER.mkdir(parents=True, exist_ok=True)
    return once(FOLDER / name, lambda folder: _unpack(folder, [*packages, *_missing(missing_of)]))


def newest_kernel() -> str:
    """Return the package that linux-image-amd64 stands for now."""
    said = _run("apt-cache", "depends", "linux-image-amd64")
    found = re.search(r"Depends: (linux-image-\S+)", said)
    assert found is not None, f"apt-cache knows no kernel: {said}"
    return found[1]


def _missing(package: str) -> list[str]:
    if not package:
        return []
    said = _run(*_APT, "install", "--simulate", "--no-install-recommends", "-q=0", package)
    return re.findall(r"^Inst (\S+)", said, re.MULTILINE)


def _unpack(folder: Path, packages: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="tlsrt-packages.") as name:
        if subprocess.run([*_APT, "download", *packages], cwd=name, capture_output=True, timeout=600).returncode:
            _run(*_APT, "update")  # the lists are older than what the archive has
            _run(*_APT, "download", *packages, cwd=name)
        for packed in Path(name).glob("*.deb"):
            _run("dpkg", "-x", str(packed), str(folder))


def _run(*words: str, cwd: str | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}"
    return done.stdout
