"""Where the code of this host lies: tlsrt, its dependencies, the packages of components. Nothing is imported.

find_spec of a top-level name reads no code, so that what is measured has not run yet. In a checkout the rooms are
links beside the package; there `__pycache__` changes all the time and is not measured: one more reason why a
checkout is for development.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tlsrt.config.schema import ComponentConfig, Config
from tlsrt.errors import ConfigError

NEEDED = ("cryptography", "msgpack", "psutil", "yaml", "zmq")
EXTRA = ("h11",)  # by an extra of tlsrt: measured where it is installed
USED = ("_cffi_backend", "_yaml", "cffi", "pycparser")  # by the needed ones; some builds come without
LIBRARIES = ("cffi.libs", "cryptography.libs", "msgpack.libs", "psutil.libs", "pyyaml.libs", "pyzmq.libs")
CODE = (".py", ".pyc", ".so", ".yaml")  # the last: profiles of the sandbox
_SHARED = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")


@dataclass(frozen=True, slots=True)
class Root:
    """One measured folder, or module of one file, and the prefix of its names."""

    path: Path
    name: str
    only_code: bool = False


def package_folder() -> Path:
    """Return the folder of the package tlsrt."""
    return Path(os.path.abspath(__file__)).parent.parent  # by the link, in a checkout


def is_checkout() -> bool:
    """Tell whether tlsrt runs from a development checkout: beside a pyproject.toml."""
    return (package_folder().parent / "pyproject.toml").is_file()


def roots(config: Config) -> list[Root]:
    """Return everything whose files are measured. Raises ConfigError for a package that is not installed."""
    return [Root(package_folder(), "tlsrt", is_checkout()), *_dependencies(), *component_roots(config)]


def component_roots(config: Config) -> list[Root]:
    """Return the packages that the operator's components come from. Raises ConfigError when one is not there."""
    known = {"tlsrt", *NEEDED, *USED, *EXTRA}
    found: dict[str, list[Root]] = {}
    for component in config.components:
        package = component.class_path.partition(":")[0].partition(".")[0]
        if not component.builtin and package not in known:
            found.setdefault(package, _component(component, package))
    return [root for package in sorted(found) for root in found[package]]


def has_http() -> bool:
    """Tell whether the package that parses HTTP is installed."""
    return bool(_find("h11", "dep/h11"))


def code_roots(config: Config) -> list[Path]:
    """Return the folders (and modules of one file) that must be readable where a loop imports.

    The standard library, site-packages, tlsrt with the folders its rooms link to (never the checkout itself, where
    keys may lie), the packages of components, and the folders of shared libraries.
    """
    paths = sysconfig.get_paths()
    folders = [Path(sys.base_prefix, "lib"), Path(paths["stdlib"]), Path(paths["platstdlib"])]
    folders += [root.path.parent for root in _dependencies()]
    folders += [package_folder(), *_rooms(), *(root.path for root in component_roots(config))]
    folders += [Path(folder) for folder in _SHARED]
    return _outermost(folder for folder in folders if folder.exists())


def walk(root: Root) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the measured name and entry of each file below a folder, links followed."""
    yield from _walk(str(root.path), root.name, root.only_code, is_checkout(), ())


def _walk(
    folder: str, name: str, only_code: bool, no_cache: bool, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a folder around it
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if not (no_cache and entry.name == "__pycache__"):
                    yield from _walk(entry.path, f"{name}/{entry.name}", only_code, no_cache, (*above, here))
            elif not only_code or entry.name.endswith(CODE):
                yield f"{name}/{entry.name}", entry


@cache
def _dependencies() -> tuple[Root, ...]:
    found = [root for package in NEEDED for root in _needed(package)]
    found += [root for package in (*USED, *EXTRA) for root in _find(package, f"dep/{package}")]
    folders = {root.path.parent for root in found}
    found += [Root(at / name, f"dep/{name}") for at in sorted(folders) for name in LIBRARIES if (at / name).is_dir()]
    return tuple(found)


def _needed(package: str) -> list[Root]:
    found = _find(package, f"dep/{package}")
    if not found:
        raise ConfigError(f"the Python package {package} is not installed: install tlsrt again with pip")
    return found


def _component(component: ComponentConfig, package: str) -> list[Root]:
    found = _find(package, f"component/{package}")
    if not found:
        raise ConfigError(
            f"component {component.address}: this Python has no package {package}: install it beside tlsrt with pip, "
            f"or correct its class {component.class_path}"
        )
    return [Root(root.path, root.name, is_checkout()) for root in found]


def _find(package: str, name: str) -> list[Root]:
    try:
        spec = importlib.util.find_spec(package)
    except (ValueError, ImportError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        places = [Path(place) for place in spec.submodule_search_locations]
        names = [name, *(f"{name}@{number}" for number in range(2, len(places) + 1))]  # a namespace has several
        return [Root(path, one) for path, one in zip(places, names, strict=True) if path.is_dir()]
    if spec.origin and os.path.isfile(spec.origin):
        return [Root(Path(spec.origin), name.rpartition("/")[0] + "/" + os.path.basename(spec.origin))]
    return []


def _rooms() -> list[Path]:
    return [entry.resolve() for entry in sorted(package_folder().iterdir()) if entry.is_symlink() and entry.is_dir()]


def _outermost(folders: Iterable[Path]) -> list[Path]:
    """Drop what is there twice or lies inside another one."""
    unique = list(dict.fromkeys(folders))
    return [path for path in unique if not any(other != path and path.is_relative_to(other) for other in unique)]
