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
from pathlib import Path

_PTH = "import site; site.addsitedir({purelib!r})\n{packages}\n"


def make_environment(folder: Path, packages: Sequence[Path]) -> Path:
    """Make an environment in `folder` with copies of these package folders; return its interpreter.

    The copies are readable by everybody, as the loops of a host run under uids of their own.
    """
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site, code, programs = folder / "lib" / version / "site-packages", folder / "code", folder / "bin"
    for made in (site, code, programs):
        made.mkdir(parents=True)
    for package in packages:
        shutil.copytree(package, code / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    base = Path(os.path.realpath(sys.executable))
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    (site / "tests.pth").write_text(_PTH.format(purelib=sysconfig.get_paths()["purelib"], packages=code))
    interpreter = programs / "python"
    interpreter.symlink_to(base)
    return interpreter
