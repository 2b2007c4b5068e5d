"""The code of this host: the standard library, tlsrt, what it needs, components and what those need.

Nothing is imported, so that what is measured has not run yet. Where packages lie says `package_search`. What a
component needs are the distributions that its own requires, and what its sources import.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from tlsrt.config.code_look import ProcessCode
from tlsrt.config.code_root import Root, walk
from tlsrt.config.components import ComponentConfig
from tlsrt.config.distributions import Distribution, closure, imported_names, installed, owners
from tlsrt.config.files import as_config_error
from tlsrt.config.import_path import (
    EXTRA,
    NEEDED,
    USED,
    bytecode_folder,
    is_checkout,
    package_folder,
    package_folders,
)
from tlsrt.config.isolation import isolated_folders, measured_prefix
from tlsrt.config.package_data import data_files
from tlsrt.config.package_folders import outermost
from tlsrt.config.package_search import component_roots, dependencies, find, package_roots, source_of
from tlsrt.config.package_survey import once, surveyed
from tlsrt.config.program_files import ProgramFiles, files_of_programs, measured_name
from tlsrt.config.schema import Config
from tlsrt.config.standard_library import library_roots, platform_library
from tlsrt.config.worker_code import WorkerCode, worker_code
from tlsrt.errors import ConfigError

_DISTRIBUTIONS = {"yaml": "pyyaml", "_yaml": "pyyaml", "zmq": "pyzmq", "_cffi_backend": "cffi"}
_SHARED = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")


@dataclass(frozen=True, slots=True)
class Version:
    """The version that the files of some names are of: those below `prefix`."""

    distribution: str
    version: str
    prefix: str
    metadata: bytes = b""


@dataclass(frozen=True, slots=True)
class Code:
    """Everything that is measured, the names that may be imported, and the versions of what has one."""

    roots: tuple[Root, ...]
    names: frozenset[str]
    versions: tuple[Version, ...]
    programs: Mapping[tuple[str, str], ProgramFiles] = field(default_factory=dict[tuple[str, str], ProgramFiles])
    processes: Mapping[str, ProcessCode] = field(default_factory=dict[str, ProcessCode])  # see `process_code`


def roots(config: Config) -> list[Root]:
    """Return everything whose files are measured. Raises ConfigError for a package that is not installed."""
    return [*code_of(config).roots]


def code_of(config: Config) -> Code:
    """Return what this host runs. Raises ConfigError for a package that is not installed."""
    with surveyed():
        return _code_of(config)


def _code_of(config: Config) -> Code:
    shared = _of_environment(config.components)
    own = component_roots(shared)
    with as_config_error("measure", package_folder()):
        needed, names, found = _needed_by(_packages(shared), own, known := installed_now(), _imported(shared))
    versions = (
        Version("python", sys.version.split()[0], "python"), Version("tlsrt", _own_version(), "tlsrt"),
        *_versions_of_dependencies(known), *found, *_versions_of_isolated(config.components),
    )  # fmt: skip
    own = component_roots(config.components)
    data = data_roots(shared)
    measured = (own_root(), *dependencies(), *own, *needed, *data, *_hooks(), *library_roots())
    return Code(measured, names, versions, files_of_programs(config.components, worker_code_of(config)))


def data_roots(components: Iterable[ComponentConfig]) -> list[Root]:
    """Return the data files of components' packages. A checkout measures only code of a package, but these too."""
    found: dict[Path, Root] = {}
    for component in components:
        places = package_roots(component) if component.data else []
        for path in data_files(component, [root.path for root in places]):
            place = next(root for root in places if path.is_relative_to(root.path))
            found[path] = Root(path, f"{place.name}/{path.relative_to(place.path)}")
    return list(found.values())


def worker_code_of(config: Config) -> Callable[[ComponentConfig, str], WorkerCode]:
    """Return what says which code the worker of a component imports: what is measured for it, and no more."""

    def code(component: ComponentConfig, module: str) -> WorkerCode:
        if source_of(module, component.packages) is None:
            raise ConfigError(f"this Python has no module {module}: correct `worker`")
        packages = [*dependencies(), *component_roots([component])]  # its package may import what components do
        if component.packages is None:
            packages += _worker_needs(component)
        folder = bytecode_folder(config.path) if _shows_bytecode(config) else None
        return worker_code(module, [own_root(), *packages], component.packages, library_roots(), _rooms(), folder)

    return code


def _worker_needs(component: ComponentConfig) -> list[Root]:
    """Return what a component's package needs of the environment, with the metadata that libraries ask for."""
    known, own = installed_now(), component_roots([component])
    needed = _needed_by(_packages([component]), own, known, _imported([component]))[0]
    owner = owners({name: one for name, one in known.items() if name != "tlsrt"})
    names = dict.fromkeys(_importable(root.path.name) for root in (*own, *needed))
    folders = dict.fromkeys(owner[name] for name in (*names, "msgpack") if name in owner)
    return [*needed, *(Root(one.metadata, f"metadata/{one.name}") for one in folders if one.metadata.is_dir())]


def imported_by_process(config: Config) -> dict[str, frozenset[str]]:
    """Return the names of what the components of each process import, without what tlsrt itself needs.

    Raises ConfigError for a package that is not installed.
    """
    found: dict[str, frozenset[str]] = {}
    with surveyed(), as_config_error("measure", package_folder()):
        known = installed_now()
        for loop in config.loops:
            components = config.components_of(loop.name)
            names = {root.name for root in (*component_roots(components), *needed_roots(components, known))}
            programs = files_of_programs(components, worker_code_of(config)).values()
            names |= {measured_name(path) for one in programs for path in one.identities}
            if names:
                found[loop.name] = frozenset(names)
    return found


def needed_roots(components: Iterable[ComponentConfig], known: dict[str, Distribution] | None = None) -> list[Root]:
    """Return what these components need of the environment, without what tlsrt itself needs. Raises ConfigError.

    `known` are the distributions that are installed, if they were looked for already.
    """
    shared = _of_environment(components)
    known = installed_now() if known is None else known
    return _needed_by(_packages(shared), component_roots(shared), known, _imported(shared))[0]


def own_root() -> Root:
    """Return the package tlsrt."""
    return Root(package_folder(), "tlsrt", is_checkout())


def _of_environment(components: Iterable[ComponentConfig]) -> list[ComponentConfig]:
    """Return the components whose packages are those of the environment."""
    return [one for one in components if one.packages is None]


def _packages(components: Iterable[ComponentConfig]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.package for one in components if one.is_foreign))


def _versions_of_isolated(components: Iterable[ComponentConfig]) -> Iterator[Version]:
    for folder in isolated_folders(components):
        for one in installed([folder]).values():
            for name in one.top_level():
                yield Version(one.name, one.version, f"{measured_prefix(folder)}/{name}", one.text())


def installed_now() -> dict[str, Distribution]:
    """Return the distributions that components may need, by name."""
    # A checkout is found from environments of several folders, by code in .pth files.
    return installed(map(Path, sys.path) if is_checkout() else package_folders())


def _own_version() -> str:
    """Return the version that the source says, which byte code beside it may not."""
    found = re.search(rb'^__version__ = "([^"/]+)"', (package_folder() / "__init__.py").read_bytes(), re.MULTILINE)
    return found[1].decode("ascii", "replace") if found else "0"


def code_roots(config: Config, components: Iterable[ComponentConfig]) -> list[Path]:
    """Return the folders (and modules of one file) that must be readable in a process that imports these components.

    The standard library (packages beside it are hidden later, see `package_folders`), site-packages, tlsrt with the
    folders its rooms link to (never the checkout itself, where keys may lie), the packages of components, and the
    folders of shared libraries.
    """
    folders = [Path(sys.base_prefix, "lib"), Path(sysconfig.get_path("stdlib")), Path(platform_library())]
    components = list(components)
    isolated = isolated_folders(components)
    folders += [root.path if isolated else root.path.parent for root in dependencies()]
    folders += [package_folder(), *_rooms(), *(root.path for root in component_roots(components))]
    folders += _elsewhere(components, folders)
    folders += _shown_bytecode(config, folders) if _shows_bytecode(config) else []
    folders += [Path(folder) for folder in _SHARED]
    if not isolated:  # where packages come from is shown below those, if it lies there
        folders += [one for one in package_folders() if any(one.is_relative_to(folder) for folder in folders)]
    return outermost(folder for folder in folders if folder.exists())


def _elsewhere(components: Sequence[ComponentConfig], shown: Sequence[Path]) -> list[Path]:
    """Return what these components need and is in a folder of packages that is not shown: a .pth file may name one."""
    components = _of_environment(components)
    own = component_roots(components)
    if not own or all(any(folder.is_relative_to(one) for one in shown) for folder in package_folders()):
        return []
    return [root.path for root in needed_roots(components) if not any(root.path.is_relative_to(one) for one in shown)]


def _shown_bytecode(config: Config, shown: Sequence[Path]) -> list[Path]:
    """Return the folders of byte code for what a process is shown; all where no component has packages of its own."""
    folder = bytecode_folder(config.path)
    if not isolated_folders(config.components):
        return [folder]
    return [Path(f"{folder}{path}") for path in shown if path.is_dir()]


def _shows_bytecode(config: Config) -> bool:
    """Tell whether a loop can come to the byte code: by a mount, or where everybody may pass the folders above it.

    Else it compiles what it imports, as nothing else depends on it.
    """
    if is_checkout():
        return False
    if "mount_namespace" not in config.sandbox.waive:
        return True
    return all(os.stat(folder).st_mode & stat.S_IXOTH for folder in config.path.parents)


def _needed_by(
    packages: tuple[str, ...], own: Sequence[Root], known: Mapping[str, Distribution], more: Iterable[str] = ()
) -> tuple[list[Root], frozenset[str], list[Version]]:
    """Return the roots, names and versions of what these packages of components need, and their own versions.

    `more` are names that are imported besides what their sources import.
    """
    names = {"tlsrt", *NEEDED, *USED, *EXTRA, *packages}
    more = {*more} - names - sys.stdlib_module_names
    if not own and not more:
        return [], frozenset(names), []
    known = {name: one for name, one in known.items() if name != "tlsrt"}  # measured as what it is
    owner = owners(known)
    tlsrts = dependencies()
    roots = {root.path: root for root in tlsrts}
    versions: dict[str, Version] = {}
    waiting = [(package, [root for root in own if _names_package(root, package)]) for package in packages]
    for name in sorted(more):
        if not (places := find(name, f"dep/{name}")):
            raise ConfigError(f"this Python has no package {name}: install it, or correct `imports` of a component")
        names.add(name)
        for root in places:
            _add(root, roots)
        waiting.append((name, places if name not in owner else []))
    while waiting:
        package, places = waiting.pop()
        distribution = owner.get(package)
        for one in closure([distribution], known) if distribution is not None else []:
            for root in _roots_of(one):
                new = _add(root, roots)
                names.add(_importable(root.path.name))
                name = roots[root.path].name
                versions[name] = Version(one.name, one.version, name, one.text())
                if new and one is distribution and root.path not in [place.path for place in places]:
                    places.append(root)
        for name in sorted(_imported_by(places) - names - sys.stdlib_module_names):
            if found := find(name, f"dep/{name}"):
                names.add(name)
                for root in found:
                    _add(root, roots)
                waiting.append((name, found if name not in owner else []))
    for name in sorted(names - {"", "tlsrt"}):  # what an import finds may be another file than RECORD's
        for root in find(name, f"dep/{name}"):
            _add(root, roots)
    for root in own:  # measured by its own name
        if (of := roots.pop(root.path, None)) is not None and of.name in versions:
            old = versions.pop(of.name)
            versions[root.name] = Version(old.distribution, old.version, root.name, old.metadata)
    for dependency in tlsrts:
        roots.pop(dependency.path, None)
        versions.pop(dependency.name, None)
    return list(roots.values()), frozenset(names), list(versions.values())


def _add(root: Root, roots: dict[Path, Root]) -> bool:
    """Add a root, under a name that no other has; return whether its path is new."""
    if root.path in roots:
        return False
    taken = {one.name for one in roots.values()}
    others = (f"{root.name}@{number}" for number in count(2))
    roots[root.path] = replace(
        root, name=root.name if root.name not in taken else next(one for one in others if one not in taken)
    )
    return True


def _imported(components: Iterable[ComponentConfig]) -> set[str]:
    """Return the packages that components and their workers import besides their own.

    What a worker names under `imports` and is not there is left out: its extra is not installed.
    """
    components = [*components]
    names = {
        name.partition(".")[0]
        for component in components
        for name in (*component.imports, *(program.worker for program in component.programs if program.worker))
    }
    asked = {name for component in components for program in component.programs for name in program.imports}
    return names | {name for name in asked if find(name, f"dep/{name}")}


def _names_package(root: Root, package: str) -> bool:
    return _importable(root.path.name) == package


def _importable(name: str) -> str:
    return name.partition(".")[0]


def _roots_of(distribution: Distribution) -> Iterator[Root]:
    folder = distribution.metadata.parent
    for name in distribution.top_level():
        for path in (folder / name, folder / f"{name}.py"):
            if path.exists() and not name.endswith(".pth"):
                yield Root(path, f"dep/{path.name}")
                break


def _imported_by(places: Iterable[Root]) -> set[str]:
    """Return the names that the sources below these places import."""
    return {name for place in places for name in _imported_in(place)}


def _imported_in(place: Root) -> tuple[str, ...]:
    return once(f"imports {place}", lambda: imported_names(_sources(place)))


def _sources(place: Root) -> Iterator[Path]:
    if place.path.is_dir():
        yield from (Path(entry.path) for name, entry in walk(place) if name.endswith(".py") and entry.is_file())
    elif place.path.suffix == ".py":
        yield place.path


def _hooks() -> list[Root]:
    """Return what runs in every Python of this environment, though never in the runtime: it is started without."""
    found: list[Root] = []
    if is_checkout():
        return found  # there they run, and `seal` may be the command of another environment
    for number, folder in enumerate(package_folders(), 1):
        with as_config_error("measure", folder):
            names = sorted(os.listdir(folder))
        group = "site" if number == 1 else f"site@{number}"
        hooks = [name for name in names if name.endswith(".pth") or "customize" in name]
        found += [Root(folder / name, f"{group}/{name}") for name in hooks]
    return found


def _versions_of_dependencies(known: Mapping[str, Distribution]) -> list[Version]:
    found: list[Version] = []
    for root in dependencies():
        name = _importable(root.name.removeprefix("dep/"))
        distribution = known.get(_DISTRIBUTIONS.get(name, name))
        if distribution is not None:
            found.append(Version(distribution.name, distribution.version, root.name, distribution.text()))
    return found


def _rooms() -> list[Path]:
    return [entry.resolve() for entry in sorted(package_folder().iterdir()) if entry.is_symlink() and entry.is_dir()]
