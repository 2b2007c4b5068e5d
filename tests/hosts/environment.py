"""A throw-away Python environment: everything of the running one, and some more packages, as if installed with pip.

A supervisor starts its inner interpreter isolated (`-I`), so that PYTHONPATH means nothing to it, and tests must not
write into the environment that they run in. So this makes another one, of three files, that passes on to the first.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
_PTH = "import site; site.addsitedir({purelib!r})\n{packages}\n"


@dataclass(frozen=True, slots=True)
class MadeEnvironment:
    """An environment, and the folder of the packages that it has beside those of the running one."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        return self.folder / "lib" / _VERSION / "site-packages"

    @property
    def code(self) -> Path:
        return self.folder / "code"


def make_environment(folder: Path, packages: Sequence[Path]) -> MadeEnvironment:
    """Make an environment in `folder` with copies of these package folders.

    The copies are readable by everybody, as the loops of a host run under uids of their own.
    """
    made = MadeEnvironment(folder)
    for part in (made.site, made.code, made.python.parent):
        part.mkdir(parents=True)
    for package in packages:
        shutil.copytree(package, made.code / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    base = Path(os.path.realpath(sys.executable))
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    (made.site / "tests.pth").write_text(_PTH.format(purelib=sysconfig.get_paths()["purelib"], packages=made.code))
    made.python.symlink_to(base)
    return made
