"""A clean root of Debian 13 in a folder, made by mmdebstrap: with the packages that are asked for, and no others.

All of them begin with one and the same smallest root, `BASE`, which is fetched once; what a root needs more is
installed into a copy of it. The archives are kept in build/ and used again while the same packages are asked for
(`make clean` removes them). Needs root and a mirror of Debian; it is not for the suite but for targets of their own,
and several of these may run at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from hosts.installation import CHECKOUT, scratch

SUITE = "trixie"
BASE = ("python3",)  # beside what is essential: every root here has it
_DEBIAN = re.compile(r"`apt install ([\w -]+)`")  # in the README
_INSTALL = 'chroot "$1" apt-get install --quiet --quiet --yes --no-install-recommends {}'
_NO_LISTS = 'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb'


def debian_archive(packages: Iterable[str]) -> Path:
    """Return the archive of a root with these packages and what they depend on."""
    if os.geteuid() != 0:
        pytest.fail("a root of Debian is made by root")
    names = sorted({*packages} - {*BASE})
    base = _once("base", _fetch)

    def refine(archive: Path) -> None:
        """Build on top of the base, as mmdebstrap(1) shows it."""
        hooks = [f"--setup-hook=tar-in {base} /"]
        hooks += [f"--customize-hook={_INSTALL.format(' '.join(names))}"] if names else []
        skip = "--skip=update,setup,cleanup/apt,tar-in/mknod"
        _run("--variant=custom", skip, *hooks, f"--customize-hook={_NO_LISTS}", "", archive)

    return _once(hashlib.sha256(" ".join(names).encode()).hexdigest()[:12], refine)


def _fetch(archive: Path) -> None:
    _run("--variant=minbase", "--skip=cleanup/apt", f"--include={','.join(BASE)}", SUITE, archive)


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


def packages_of_readme() -> list[str]:
    """Return the packages that the README names for Debian."""
    found = _DEBIAN.search((CHECKOUT / "README.md").read_text())
    assert found, "README.md: where are the packages of Debian?"
    return found[1].split()


def _once(name: str, make: Callable[[Path], None]) -> Path:
    """Return an archive in build/ that the first of those who want it makes."""
    archive = CHECKOUT / "build" / f"debian-{SUITE}-{name}.tar"
    archive.parent.mkdir(exist_ok=True)
    with archive.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            unfinished = archive.with_suffix(".part.tar")
            make(unfinished)
            unfinished.rename(archive)
    return archive


def _run(*words: str | Path) -> None:
    command = ["mmdebstrap", "--quiet", *map(str, words)]
    memory = {"TMPDIR": "/dev/shm"} if os.path.isdir("/dev/shm") else {}  # dpkg waits for a disk at each package
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env={**os.environ, **memory}
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
