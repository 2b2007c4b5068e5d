"""Temporary files of a process: a folder beside the state of its components, empty at each start.

Libraries find it as /tmp, which is a link to it where the process has a root of its own, or by TMPDIR.
"""

from __future__ import annotations

import os
from pathlib import Path

from tlsrt.sandbox.apply.root_filesystem import TEMPORARY


def prepare_temporary(state: Path) -> None:
    """Make the folder empty, and name it in the environment; before the import of what may ask for it."""
    folder = state / TEMPORARY
    if os.path.lexists(folder):
        _remove(str(folder))
    folder.mkdir(mode=0o700)
    os.environ["TMPDIR"] = str(folder)


def _remove(path: str) -> None:
    """Remove what is at a path, no link followed. shutil, which does the same, costs every process an import."""
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
        return
    for here, folders, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(os.path.join(here, name))
        for name in folders:
            inner = os.path.join(here, name)
            (os.unlink if os.path.islink(inner) else os.rmdir)(inner)
    os.rmdir(path)
