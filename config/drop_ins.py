"""Drop-ins: components that were added from packages, `components.d/LOOP.NAME.yaml` beside the configuration.

Each is what the operator decided: which package, its options, and who may call it. Beside it lies the manifest that was
approved, byte for byte; a package that brings another one now is not run until the operator has seen the difference.
What is wrong with one of them makes that component fail, and no other.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tlsrt.config.access import METHOD, POLICY_LINE
from tlsrt.config.components import ComponentConfig, HealthConfig
from tlsrt.config.failed import FailedComponent
from tlsrt.config.files import as_config_error, read_bounded
from tlsrt.config.isolation import isolated_folder
from tlsrt.config.manifest import (
    FILE,
    MANIFEST_MAX,
    PACKAGE,
    ParsedManifest,
    changed_tree,
    checked_tree,
    parse_manifest,
    top_level,
)
from tlsrt.config.needs import NeedsConfig
from tlsrt.config.programs import ProgramConfig
from tlsrt.config.setting import NAME, Setting, Where, count, listing, mapping, table, text
from tlsrt.config.variables import put_values
from tlsrt.config.yaml_nodes import Problems, YamlNode
from tlsrt.errors import ConfigError

FOLDER = "components.d"
JOURNAL = ".change"  # in it: what a command changes now, or did before it was interrupted
DROP_IN, APPROVED = ".yaml", ".manifest"  # what the names of both files end with
ALONE = "approved"  # instead of the name of a manifest in a package: the one that was approved, which is of none
PREFIX = "drop-in/"  # of their names in a measurement
_FIXED = ("package", "manifest", "isolated")  # what says which code runs is no variable
_NAME = re.compile(rf"({NAME})\.({NAME})")
_MOST = 256
FindManifest = Callable[[str, str, Path | str, Path | None], tuple[Path, bytes]]  # see `installed_manifest`
DropInFiles = Mapping[str, bytes | ConfigError]  # name -> what it holds, or why it cannot be read


def _same(name: str) -> Mapping[str, Any]:
    return next(one.metadata for one in fields(ComponentConfig) if one.name == name)


@dataclass(frozen=True, slots=True)
class DropIn:
    """A component of a package, or a program: what the operator decides of it."""

    package: str = field(
        default="",
        metadata=text(
            "The package, as Python imports it.",
            pattern=PACKAGE,
            says="a package",
            most=256,
            default_says="none, for `manifest: approved`",
        ),
    )
    manifest: str = field(
        default=FILE,
        metadata=text(
            f"The manifest, in the folder of the package; or {ALONE}, for a program that came with no package.",
            pattern=rf"(?:[a-z][a-z0-9_]*\.)?{re.escape(FILE)}|{ALONE}",
            says=f"{FILE}, NAME.{FILE} or {ALONE}",
        ),
    )
    isolated: int = field(
        default=0,
        metadata=count(
            "The number of the folder of packages that are its own, which `component add --isolated` makes; without it "
            "the package comes from beside tlsrt.",
            1,
            1 << 31,
        ),
    )
    options: Mapping[str, object] = field(default_factory=dict[str, object], metadata=_same("options"))
    placement: str = field(default="own", metadata=_same("placement"))
    needs: NeedsConfig = field(
        default=NeedsConfig(),
        metadata=table(NeedsConfig, "What takes the place of the same keys of the manifest: another device, as here."),
    )
    programs: tuple[ProgramConfig, ...] = field(default=(), metadata=_same("programs"))
    health: HealthConfig = field(default=HealthConfig(), metadata=_same("health"))
    policy: Mapping[str, object] = field(
        default_factory=dict[str, object],
        metadata=mapping(
            'Who may call it, and what it may call besides: "from -> to": [methods].',
            listing('The methods that may be called, or "*" for all.', METHOD, 256, least=1, word="*"),
            256,
            POLICY_LINE,
            'a policy line, "from -> to", each loop/component or client/name, with * for a whole name',
            example='{client/admin -> third/kettle: "*"}',
        ),
    )


SETTING: Setting = table(DropIn)["setting"]


@dataclass(frozen=True, slots=True)
class AddedComponent:
    """A component that a drop-in adds, as a configuration would have it."""

    address: str
    title: str
    package: str
    tree: Mapping[str, Any]  # as below its address in `components`
    packages: Path | None  # the folder of those of its own
    policy: Mapping[str, Sequence[str]]  # lines, those of what it calls first
    optional: frozenset[str]  # lines of `policy` whose target may be missing
    places: Mapping[Where, str]  # keys of `tree`, and of ("policy", LINE) -> FILE:LINE:COL
    file: Path


def drop_in_folder(config: Path) -> Path:
    """Return where the drop-ins of a configuration lie."""
    return config.parent / FOLDER


def drop_in_file(config: Path, address: str, ending: str = DROP_IN) -> Path:
    """Return the drop-in of a component, or the manifest that was approved with it."""
    return drop_in_folder(config) / f"{address.replace('/', '.')}{ending}"


def drop_in_files(config: Path) -> dict[str, bytes | ConfigError]:
    """Return every drop-in and approved manifest by name: its bytes, or why it cannot be read. Raises ConfigError."""
    folder = drop_in_folder(config)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read {folder}: {error.strerror}") from None
    wanted = [name for name in names if name.endswith((DROP_IN, APPROVED)) and not name.startswith(".")]
    if len(wanted) > 2 * _MOST:
        raise ConfigError(f"{folder} has more than {2 * _MOST} files: remove those that are not needed")
    return {name: _read(folder / name) for name in wanted}


def _read(path: Path) -> bytes | ConfigError:
    try:
        return read_bounded(path, MANIFEST_MAX, "the file")
    except ConfigError as error:
        return error


def drop_in_digests(files: DropInFiles) -> dict[str, bytes]:
    """Return these files as a measurement has them."""
    return {
        f"{PREFIX}{name}": hashlib.sha256(data if isinstance(data, bytes) else b"tlsrt: not readable").digest()
        for name, data in files.items()
    }


def installed_manifest(package: str, name: str, asked_by: Path | str, place: Path | None = None) -> tuple[Path, bytes]:
    """Return the path and bytes of a manifest in an installed package; nothing is imported. Raises ConfigError.

    `place` is the folder of packages of an isolated component.
    """
    from tlsrt.config.package_search import folder_of_package

    folder = folder_of_package(top_level(package), place)
    if folder is None and place is not None:
        raise ConfigError(f"{asked_by}: there is no package {package} in {place}: remove it, and add it again")
    if folder is None:
        raise ConfigError(
            f"{asked_by}: this Python has no package {package}: install it beside tlsrt, or remove the component"
        )
    folder = folder.joinpath(*package.split(".")[1:])
    if not os.path.lexists(folder / name):
        raise ConfigError(f"{asked_by}: {package} brings no manifest {name}: ask who made the package for one")
    with as_config_error("read", folder / name):
        return folder / name, read_bounded(folder / name, MANIFEST_MAX, "the manifest")


def added_components(
    config: Path,
    files: DropInFiles,
    manifest: FindManifest = installed_manifest,
    variables: Mapping[str, str] | None = None,
) -> tuple[tuple[AddedComponent, ...], tuple[FailedComponent, ...]]:
    """Return the components that drop-ins add, and those that something is wrong with. Raises nothing for any bytes.

    `manifest` finds the manifest of a package that a drop-in names. `variables` are those that the configuration lists;
    None: it is of a version that has none.
    """
    added: list[AddedComponent] = []
    failed: list[FailedComponent] = []
    for name, data in files.items():
        if not name.endswith(DROP_IN):
            continue
        path = drop_in_folder(config) / name
        match = _NAME.fullmatch(name.removesuffix(DROP_IN))
        if match is None:
            sentence = f"{path}: the name says no component: call it LOOP.NAME{DROP_IN}, or remove it"
            failed.append(FailedComponent(f"{FOLDER}/{name}", (sentence,)))
            continue
        address = f"{match[1]}/{match[2]}"
        try:
            added.append(_added(address, path, data, files.get(f"{match[0]}{APPROVED}"), manifest, config, variables))
        except ConfigError as error:
            failed.append(FailedComponent(address, tuple(error.problems)))
    return tuple(added), tuple(failed)


def _added(
    address: str,
    path: Path,
    data: bytes | ConfigError,
    approved: bytes | ConfigError | None,
    manifest: FindManifest,
    config: Path,
    variables: Mapping[str, str] | None,
) -> AddedComponent:
    for one in (data, approved):
        if isinstance(one, ConfigError):
            raise one
    assert isinstance(data, bytes)

    def prepare(root: YamlNode, problems: Problems) -> None:
        if variables is not None:
            put_values(root, variables, _FIXED, problems)

    tree, places = checked_tree(data, path, SETTING, prepare)
    package, name = str(tree.get("package", "")), str(tree.get("manifest", FILE))
    number = int(tree.get("isolated", 0))
    if bool(package) == (name == ALONE) or (number and not package):
        raise ConfigError(f"{path}: name the package that brings it, or write `manifest: {ALONE}` for a program")
    place = isolated_folder(config, address, number) if number else None
    if package:
        file, present = manifest(package, name, path, place)
    if approved is None:
        raise ConfigError(
            f"{path}: what {package or address} asks for was not approved: run `tlsrt-supervisor component update "
            f"{address}`"
        )
    assert isinstance(approved, bytes)
    if not package:
        file, present = path.with_suffix(APPROVED), approved
    if present != approved:
        raise ConfigError(
            f"{file} is not the manifest that was approved: look at it with `tlsrt-supervisor component diff {address}`"
            f", and approve it with `component update {address}`"
        )
    return combined(address, path, (tree, places), parse_manifest(present, file), package, place)


def combined(
    address: str, path: Path, drop_in: tuple[Mapping[str, Any], Mapping[Where, str]], manifest: ParsedManifest,
    package: str, place: Path | None = None,
) -> AddedComponent:  # fmt: skip
    """Return a component of what its package and its operator say. Raises ConfigError."""
    said, said_at = drop_in
    if not package and manifest.tree.get("kind") != "program":
        raise ConfigError(f"{manifest.file}: a class comes in a package: name the package, or say `kind: program`")
    class_path = str(manifest.tree.get("class", ""))
    if class_path and top_level(class_path.partition(":")[0]) != (whose := top_level(package)):
        raise ConfigError(f"{manifest.places['class',]}: the class of a component of {whose} is in {whose} itself")
    own = ("options", "process", "needs", "programs", "health")
    tree = changed_tree(manifest.tree, {key: said[key] for key in own if key in said})
    if place is not None and tree.get("process") == "shared":
        raise ConfigError(
            f"{said_at.get(('process',), path)}: a component with packages of its own has a process of its own, and "
            "this one asks for its loop's: add it without --isolated, or say `process: own` here"
        )
    policy = {f"{address} -> {target}": tuple(methods) for target, methods in manifest.calls.items()}
    places = {**manifest.places, **said_at}
    places |= {("policy", f"{address} -> {target}"): manifest.places["calls", target] for target in manifest.calls}
    for line, methods in (said.get("policy") or {}).items():
        if address not in (side.strip() for side in line.split("->")):
            raise ConfigError(f"{said_at['policy', line]}: {line}: a line here is about {address}; write others there")
        policy[line] = tuple(methods)
    optional = frozenset(f"{address} -> {target}" for target in manifest.optional) - set(said.get("policy") or {})
    return AddedComponent(address, manifest.title, package or FOLDER, tree, place, policy, optional, places, path)
