"""Folders of packages beside the standard library: what is shown of a library shows them too, unless they are hidden.

An environment takes its standard library from a base interpreter, which has packages of its own: site-packages in the
library's folder, dist-packages of Debian below /usr/lib. No process of this host imports them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

NAMES = ("site-packages", "dist-packages")
_PLACES = tuple(f"{place}{name}" for place in ("", "python*/") for name in NAMES)  # in a library, or in one beside it


def outermost(folders: Iterable[Path]) -> list[Path]:
    """Drop what is there twice or lies inside another one, but for what lies in a folder of packages."""
    unique = dict.fromkeys(folders)
    return [path for path in unique if not any(above in unique and _shows(above, path) for above in path.parents)]


def hidden_packages(code: Iterable[Path], data: Iterable[Path] = ()) -> tuple[Path, ...]:
    """Return the folders of packages below folders of code that nothing of the code, and no data, lies in or shows."""
    code, data = [path.resolve() for path in code], [path.resolve() for path in data]
    found = dict.fromkeys(
        one.resolve() for folder in code for place in _PLACES for one in folder.glob(place) if one.is_dir()
    )
    return tuple(
        folder
        for folder in found
        if not any(path.is_relative_to(folder) for path in (*code, *data))
        and not any(folder.is_relative_to(path) for path in data)
    )


def _shows(above: Path, path: Path) -> bool:
    return not set(NAMES).intersection(path.relative_to(above).parts)
