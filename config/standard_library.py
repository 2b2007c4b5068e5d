"""The standard library and the interpreter of this process: where they lie, as roots that are measured."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from tlsrt.config.code_root import Root
from tlsrt.config.files import as_config_error
from tlsrt.config.import_path import library_folders

_NOT_LIBRARY = ("test", "site-packages", "dist-packages")  # below the standard library's folder


def library_roots() -> list[Root]:
    """Return the standard library without its tests, and the interpreter. Raises ConfigError."""
    folders = dict.fromkeys((sysconfig.get_path("stdlib"), platform_library()))
    major, minor, *_ = sys.version_info
    without = (*_NOT_LIBRARY, f"config-{major}.{minor}-{sys.implementation._multiarch}")
    names = ("python", "python@2")
    found = [Root(Path(folder), name, without=without) for folder, name in zip(folders, names, strict=False)]
    files = [interpreter(), *(Path(one) for one in library_folders() if one.endswith(".zip"))]
    shared = sysconfig.get_config_var("INSTSONAME") if sysconfig.get_config_var("Py_ENABLE_SHARED") else None
    if shared:
        files += _loaded(shared)
    return [*found, *(Root(file, f"python/{file.name}") for file in files if os.path.isfile(file))]


def interpreter() -> Path:
    """Return the executable of this interpreter, not the link to it that an environment has."""
    return Path(os.path.realpath(sys.executable))


def platform_library() -> str:
    """Return the folder of the compiled part, also in a virtual environment, which has none of its own."""
    return sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix})


def _loaded(library: str) -> list[Path]:
    """Return the shared library of that name which this process runs: it need not be where it was built for."""
    with as_config_error("measure", Path("/proc/self/maps")), open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split(maxsplit=5)[-1].strip() for line in maps if line.rstrip().endswith(f"/{library}")}
    return sorted(map(Path, paths))
