"""A captured package: looks for packages of the base interpreter, as it is imported and when it is asked again."""

from __future__ import annotations

import errno
import glob
import os
import sys

from tlsrt import Component, handler

PLACES = tuple(f"{prefix}/lib/python*/*-packages/*" for prefix in (sys.base_prefix, "/usr", "/usr/local"))


def opened(path: str) -> str:
    """Return the errno of an open, empty if it works."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


FOUND = sorted({found for place in PLACES for found in glob.glob(place)})
LIBRARY = opened(os.__file__)


class Curious(Component):
    """Tells what it has found."""

    @handler
    async def found(self) -> list[str]:
        """Return the paths that it saw when it was imported."""
        return [*FOUND, *([f"library: {LIBRARY}"] if LIBRARY else [])]

    @handler
    async def try_open(self, paths: list[str]) -> list[str]:
        """Return what comes of opening each of these."""
        return [opened(path) for path in paths]
