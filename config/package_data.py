"""Data files of a component's own package: which ones its `data` patterns mean. Nothing is imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tlsrt.config.components import ComponentConfig
from tlsrt.errors import ConfigError

FILES_MOST = 256  # of one component: each is a mount of its process
_CODE = (".py", ".pyc", ".so")


def data_files(component: ComponentConfig, folders: Sequence[Path]) -> list[Path]:
    """Return the files of its package that a component reads after the seal, as paths below `folders`.

    Raises ConfigError for a pattern without a file, for code, and for a link that leads out of the package.
    """
    found: dict[Path, None] = {}
    for pattern in component.data:
        matching = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob(pattern))]
        files = [path for path in matching if path.is_file()]
        if not files:
            raise ConfigError(
                f"component {component.address}: no file of the package {component.package} is {pattern}: "
                "correct `data`"
            )
        for path in files:
            if path.suffix in _CODE:
                raise ConfigError(f"component {component.address}: {path} is code, which no sealed process reads")
            if not any(Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)) for folder in folders):
                raise ConfigError(f"component {component.address}: {path} is a link out of its package")
            found[path] = None
    if len(found) > FILES_MOST:
        raise ConfigError(
            f"component {component.address}: `data` means {len(found)} files, at most {FILES_MOST} can be"
        )
    return list(found)
