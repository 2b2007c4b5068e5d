"""Folders of packages beside the standard library: what is shown of a library shows them too, unless they are hidden.

An environment takes its standard library from a base interpreter, which has packages of its own: site-packages in the
library's folder, dist-packages of Debian below /usr/lib. No process of this host imports them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

NAMES = ("site-packages", "dist-packages")


def outermost(folders: Iterable[Path]) -> list[Path]:
    """Drop what is there twice or lies inside another one, but for what lies in a folder of packages."""
    unique = dict.fromkeys(folders)
    return [path for path in unique if not any(above in unique and _shows(above, path) for above in path.parents)]


def hidden_packages(code: Iterable[Path], data: Iterable[Path] = ()) -> tuple[Path, ...]:
    """Return the folders of packages below folders of code that nothing of the code, and no data, lies in or shows."""
    read, kept = [os.path.realpath(path) for path in code], [os.path.realpath(path) for path in data]
    found = dict.fromkeys(os.path.realpath(one) for folder in read for one in _packages_in(folder))
    return tuple(
        Path(folder)
        for folder in found
        if not any(_lies_in(path, folder) for path in (*read, *kept))
        and not any(_lies_in(folder, path) for path in kept)
    )


def _packages_in(folder: str) -> Iterator[str]:
    """Yield the folders of packages in a library, or in one beside it."""
    try:
        beside = sorted(f"{folder}/{name}" for name in os.listdir(folder) if name.startswith("python"))
    except OSError:  # a file, or one that we cannot look into
        return
    for place in (folder, *beside):
        yield from (one for name in NAMES if os.path.isdir(one := f"{place}/{name}"))


def _lies_in(path: str, folder: str) -> bool:
    """Tell it of resolved paths, as text: pathlib takes a hundred times as long, and each start asks for hundreds."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _shows(above: Path, path: Path) -> bool:
    return not set(NAMES).intersection(path.relative_to(above).parts)
