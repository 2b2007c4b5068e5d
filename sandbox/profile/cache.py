"""What was made from the profile files, kept for as long as those files are the ones in force.

A reload makes new profiles beside the old ones and may yet be refused, while a loop that dies meanwhile must come back
under the old one. So everything that is made from files lies on a shelf, and a reload fills a second shelf: `use` says
which one counts. Nothing on a shelf is changed afterwards.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


class ProfileCache:
    """Results by the function and arguments that made them; `fingerprint` says of which files (empty: not asked)."""

    def __init__(self, fingerprint: bytes = b"") -> None:
        self.fingerprint = fingerprint
        self.made: dict[tuple[Any, ...], Any] = {}


_current = ProfileCache()


def current() -> ProfileCache:
    """Return the shelf in force."""
    return _current


def use(shelf: ProfileCache) -> None:
    """Put another shelf in force."""
    global _current
    _current = shelf


@contextmanager
def using(shelf: ProfileCache) -> Generator[None, None, None]:
    """Put another shelf in force inside the block."""
    before = current()
    use(shelf)
    try:
        yield
    finally:
        use(before)


def fingerprint(folder: Path) -> bytes:
    """Return a SHA-256 over the names and bytes of the YAML files in and below a folder. Raises OSError."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.yaml")):
        for part in (os.fsencode(file.relative_to(folder)), file.read_bytes()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


class Kept(Generic[Arguments, Made]):
    """A function whose results stay on the shelf in force; arguments must be hashable."""

    def __init__(self, function: Callable[Arguments, Made]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Made:
        made = _current.made
        key = (self, args, tuple(sorted(kwargs.items())))
        if key not in made:
            made[key] = self._function(*args, **kwargs)
        result: Made = made[key]
        return result

    def cache_clear(self) -> None:
        """Forget its results on the shelf in force."""
        for key in [key for key in _current.made if key[0] is self]:
            del _current.made[key]


def cache(function: Callable[Arguments, Made]) -> Kept[Arguments, Made]:
    """Decorate as functools.cache does, for what is made from profile files."""
    return Kept(function)
