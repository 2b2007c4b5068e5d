"""Build wheel and sdist so that the same commit always gives the same bytes.

    python distribution/dist.py FOLDER [--version VERSION]

What is built is a copy of the files of the repository, with usual modes and with the time of the last commit, or that
of SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/). `--version` says another version, for
a test of an upgrade. Nothing is fetched: setuptools is that of the running environment. The sdist has the bill of
materials of the wheel (sbom.py).
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LITTER = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "dist", "var", "results", "tlsrt.cdx.json")
_BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def epoch() -> int:
    """Return the time of everything that is built, in seconds."""
    if said := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(said)
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else int((ROOT / "pyproject.toml").stat().st_mtime)


def copy_sources(folder: Path, version: str | None = None) -> Path:
    """Copy the files of the repository, with the same modes and times wherever they come from; return the copy."""
    if (ROOT / ".git").exists():
        which = ("--cached", "--others", "--exclude-standard", "-z")
        command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", *which]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in (name for name in names if name and os.path.lexists(ROOT / name)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    else:
        shutil.copytree(ROOT, folder, symlinks=True, ignore=_LITTER, dirs_exist_ok=True)
    if version is not None:
        for name, line in (("pyproject.toml", "version"), ("tlsrt/__init__.py", "__version__")):
            lines = (folder / name).read_text().splitlines()
            lines = [f'{line} = "{version}"' if each.startswith(f'{line} = "') else each for each in lines]
            (folder / name).write_text("\n".join(lines) + "\n")
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (epoch(), epoch()), follow_symlinks=False)
    return folder


def build(out: Path, version: str | None = None, *, what: Sequence[str] = ("wheel", "sdist")) -> list[Path]:
    """Build them below a folder, and return them."""
    out.mkdir(parents=True, exist_ok=True)
    os.umask(0o022)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch()), "PYTHONHASHSEED": "0"}
    made: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="tlsrt-dist.") as scratch:
        for one in what:
            source, result = Path(scratch, one), Path(scratch, f"{one}.out")
            result.mkdir()
            copy_sources(source, version)
            command = [sys.executable, "-c", _BUILD, f"build_{one}", str(result)]
            done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"cannot build the {one}: {done.stdout}{done.stderr}")
            [path] = result.iterdir()
            if one == "sdist":
                _normalise(path, _bill_of(made))
            made.append(Path(shutil.copy(path, out)))
    return made


def _bill_of(made: Sequence[Path]) -> dict[str, bytes]:
    """Return what is added to an sdist that is built beside a wheel."""
    from sbom import FILE, text_of

    wheels = [path for path in made if path.suffix == ".whl"]
    return {FILE: text_of(wheels[0]).encode()} if wheels else {}


def _normalise(sdist: Path, more: Mapping[str, bytes]) -> None:
    """Write an sdist anew: with more files, sorted, and without what says when and by whom it was made."""
    with tarfile.open(sdist) as archive:
        members = [(one, archive.extractfile(one).read() if one.isfile() else b"") for one in archive]  # type: ignore[union-attr]
    for name, content in more.items():
        member = tarfile.TarInfo(f"{sdist.name.removesuffix('.tar.gz')}/{name}")
        member.size, member.mode = len(content), 0o644
        members.append((member, content))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in sorted(members, key=lambda pair: pair[0].name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch(), 0, 0, "", ""
            member.pax_headers = {}
            archive.addfile(member, io.BytesIO(content) if member.isfile() else None)
    with sdist.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=epoch()) as compressed:
        compressed.write(packed.getvalue())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version")
    asked = parser.parse_args()
    print(*build(asked.folder, asked.version), sep="\n")
