"""A clean root of Debian 13 in a folder, made by mmdebstrap: with the packages that are asked for, and no others.

The archive of a root is kept in build/ and used again while the same packages are asked for (`make clean` removes it).
Needs root and a mirror of Debian; it is not for the suite but for targets of their own.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from hosts.installation import CHECKOUT, scratch

SUITE = "trixie"


def debian_archive(packages: Iterable[str]) -> Path:
    """Return the archive of a root with these packages and what they depend on."""
    if os.geteuid() != 0:
        pytest.fail("a root of Debian is made by root")
    names = ",".join(sorted(packages))
    archive = CHECKOUT / "build" / f"debian-{SUITE}-{hashlib.sha256(names.encode()).hexdigest()[:12]}.tar"
    if not archive.exists():
        archive.parent.mkdir(exist_ok=True)
        unfinished = archive.with_suffix(".part.tar")
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={names}", SUITE, str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
        unfinished.rename(archive)
    return archive


def debian_root(packages: Iterable[str]) -> Path:
    """Return the folder of a root with these packages and what they depend on."""
    archive = debian_archive(packages)
    folder = scratch() / archive.stem
    folder.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", folder, "--numeric-owner"], check=True, timeout=300)
    return folder


def packages_of(deb: Path) -> list[str]:
    """Return the packages that a package depends on: of alternatives the first."""
    command = ["dpkg-deb", "--field", str(deb), "Depends"]
    fields = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(",")
    return [field.split("|")[0].split("(")[0].strip() for field in fields]
