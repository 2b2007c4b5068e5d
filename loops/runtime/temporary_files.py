"""Temporary files of a process: a folder beside the state of its components, empty at each start.

Libraries find it as /tmp, which is a link to it where the process has a root of its own, or by TMPDIR.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tlsrt.config.remove_tree import remove_tree
from tlsrt.sandbox.apply.root_filesystem import TEMPORARY


def prepare_temporary(state: Path) -> None:
    """Make the folder empty, and name it in the environment; before the import of what may ask for it."""
    folder = state / TEMPORARY
    if os.path.lexists(folder):
        try:
            remove_tree(folder)
        except OSError:  # what is in it keeps nothing from its start; `component remove --purge` takes it along
            os.rename(folder, f"{folder}.{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    os.environ["TMPDIR"] = str(folder)
    if (module := sys.modules.get("tempfile")) is not None:
        vars(module)["tempdir"] = None  # where this process's parent has put its own
