"""Command lines for people to type: quoted for the shell, with a program that is found."""

from __future__ import annotations

import os
import shlex
import sys


def command_line(program: str, *words: object) -> str:
    """Return a line for the shell; a program that is not on PATH is named by its path."""
    return shlex.join([_findable(program), *map(str, words)])


def _findable(program: str) -> str:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    installed = os.path.join(os.path.dirname(sys.executable), program)
    if any(os.access(os.path.join(folder, program), os.X_OK) for folder in folders) or not os.path.exists(installed):
        return program
    relative = os.path.relpath(installed)
    return installed if relative.startswith(os.pardir) else relative
