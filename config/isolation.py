"""Packages of one component alone: a folder beside the configuration, in place of those of the environment.

    NAME.packages/third.kettle@2/kettle/...    NAME is that of the configuration

A drop-in says which number is in force. The folder is measured whole. tlsrt and what tlsrt needs come from tlsrt's own
place, whatever lies here; and no process but that of its component is shown it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tlsrt.config.components import ComponentConfig
from tlsrt.config.files import as_config_error
from tlsrt.config.import_path import own_names
from tlsrt.errors import ConfigError
from tlsrt.text import printable

PREFIX = "isolated/"  # of their names in a measurement


def packages_folder(config: Path) -> Path:
    """Return where the packages of isolated components of a host lie."""
    return config.with_name(f"{config.stem}.packages")


def isolated_folder(config: Path, address: str, number: int) -> Path:
    """Return the folder with the packages of one component."""
    return packages_folder(config) / f"{address.replace('/', '.')}@{number}"


def measured_prefix(folder: Path) -> str:
    """Return what the measured names of the files in a folder of packages begin with: the same for every number."""
    return f"{PREFIX}{folder.name.partition('@')[0]}"


def isolated_folders(components: Iterable[ComponentConfig]) -> list[Path]:
    """Return the folders of packages of these components."""
    return [one.packages for one in components if one.packages is not None]


def check_isolated(folder: Path) -> None:
    """Refuse a folder of packages with a link, a special file, or what takes the place of tlsrt. Raises ConfigError."""
    with as_config_error("look at", folder):
        names = os.listdir(folder)
        for name in names:
            if reason := taken_place(name):
                raise ConfigError(f"{folder} holds {printable(name, 200)}, which {reason}")
        for path, status in _below(folder):
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                kind = "a link" if stat.S_ISLNK(status.st_mode) else "no regular file"
                raise ConfigError(f"{printable(str(path), 300)} is {kind}: packages of a component hold files only")


def taken_place(name: str) -> str:
    """Return why a name must not lie in a folder of packages; "" for one that may."""
    module = name.partition(".")[0]
    if module in own_names() or module in sys.stdlib_module_names:
        return f"takes the place of {module}"
    return "a Python runs at its start" if "customize" in module else ""


def _below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(here, name)
            yield path, os.lstat(path)
