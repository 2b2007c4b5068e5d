"""Where packages lie: found where the runtime will import them from, and nothing is imported.

A package is found by the import path of the runtime (`import_path`), also by a command that imports from more places.
In a checkout the rooms are links beside the package.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from tlsrt.config.code_root import Root
from tlsrt.config.components import ComponentConfig
from tlsrt.config.import_path import EXTRA, NEEDED, USED, is_checkout, package_folder, package_folders
from tlsrt.config.isolation import measured_prefix
from tlsrt.errors import ConfigError

LIBRARIES = ("cffi.libs", "cryptography.libs", "msgpack.libs", "psutil.libs", "pyyaml.libs", "pyzmq.libs")


def component_roots(components: Iterable[ComponentConfig]) -> list[Root]:
    """Return the packages that these components come from. Raises ConfigError when one is not there."""
    known = {"tlsrt", *NEEDED, *USED, *EXTRA}
    found: dict[str, list[Root]] = {}
    for component in components:
        package = component.package
        if component.packages is not None:
            found[component.packages.name] = [Root(component.packages, measured_prefix(component.packages))]
        elif component.is_foreign and package not in known:
            found.setdefault(package, _component(component, package))
    return [root for package in sorted(found) for root in found[package]]


def package_roots(component: ComponentConfig) -> list[Root]:
    """Return the package that a component comes from, also within packages of its own. Raises ConfigError."""
    if component.packages is None:
        return component_roots([component])
    return find(component.package, f"{measured_prefix(component.packages)}/{component.package}", component.packages)


def source_of(module: str, place: Path | None = None) -> Path | None:
    """Return the source of a module, None if there is none that can be found.

    `place` is the folder of packages of an isolated component, here as below.
    """
    package, *parts = module.split(".")
    places = [package_folder()] if package == "tlsrt" else [root.path for root in find(package, package, place)]
    for place in places:
        for path in (place.joinpath(*parts, "__init__.py"), place.joinpath(*parts).with_suffix(".py"), place):
            if path.suffix == ".py" and path.is_file() and (parts or path.stem in (package, "__init__")):
                return path
    return None


def folder_of_package(package: str, place: Path | None = None) -> Path | None:
    """Return the folder of an installed package, None if there is none; the first of a namespace's."""
    if package == "tlsrt" and place is None:
        return package_folder()
    return next((root.path for root in find(package, package, place) if root.path.is_dir()), None)


def has_http() -> bool:
    """Tell whether the package that parses HTTP is installed."""
    return bool(find("h11", "dep/h11"))


@cache
def dependencies() -> tuple[Root, ...]:
    """Return what tlsrt needs. Raises ConfigError for what is not installed."""
    found = [root for package in NEEDED for root in _needed(package)]
    found += [root for package in (*USED, *EXTRA) for root in find(package, f"dep/{package}")]
    folders = {root.path.parent for root in found}
    found += [Root(at / name, f"dep/{name}") for at in sorted(folders) for name in LIBRARIES if (at / name).is_dir()]
    return tuple(found)


def _needed(package: str) -> list[Root]:
    found = find(package, f"dep/{package}")
    if not found:
        raise ConfigError(f"the Python package {package} is not installed: install tlsrt again with pip")
    return found


def _component(component: ComponentConfig, package: str) -> list[Root]:
    found = find(package, f"component/{package}")
    if not found:
        raise ConfigError(
            f"component {component.address}: this Python has no package {package}: install it beside tlsrt with pip, "
            f"or correct its class {component.class_path}"
        )
    return [Root(root.path, root.name, is_checkout()) for root in found]


def find(package: str, name: str, place: Path | None = None) -> list[Root]:
    """Return the folders of a package, or its one file, under this measured name; nothing if it is not there."""
    spec = _spec(package, place)
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        places = [Path(place) for place in spec.submodule_search_locations]
        names = [name, *(f"{name}@{number}" for number in range(2, len(places) + 1))]  # a namespace has several
        return [Root(path, one) for path, one in zip(places, names, strict=True) if path.is_dir()]
    if spec.origin and os.path.isfile(spec.origin):
        return [Root(Path(spec.origin), name.rpartition("/")[0] + "/" + os.path.basename(spec.origin))]
    return []


def _spec(package: str, place: Path | None) -> ModuleSpec | None:
    try:
        if place is not None:
            return PathFinder.find_spec(package, [str(place)])
        if is_checkout():
            return importlib.util.find_spec(package)  # by an editable install, or where a test has put it
        return PathFinder.find_spec(package, [str(folder) for folder in package_folders()])
    except (ValueError, ImportError):
        return None
