"""Which model a worker has loaded, hashed before its first answer.

The files were measured by `seal` and looked at again when the process was begun, so a changed one has been refused.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from tlsrt.loops.models.answers import Model


def model_of(distribution: str, files: Iterable[Path], name: str = "") -> Model:
    """Return the identity of a model: SHA-256 over its files, by their names. Raises OSError, PackageNotFoundError."""
    total = hashlib.sha256()
    for path in sorted(files):
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return Model(name or distribution, version(distribution), total.hexdigest())


def folder_of(package: str) -> Path | None:
    """Return the folder of an installed package without importing it, None if it is not there."""
    spec = importlib.util.find_spec(package)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None
