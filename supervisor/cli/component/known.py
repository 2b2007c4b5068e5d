"""What is known of one added component: its files, its package, its state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tlsrt import __version__
from tlsrt.config.components import ComponentConfig
from tlsrt.config.distributions import Distribution, installed, owners
from tlsrt.config.drop_ins import ALONE, APPROVED, drop_in_file
from tlsrt.config.manifest import FILE, ParsedManifest, parse_manifest, top_level
from tlsrt.config.processes import SHARED_PARTS, process_name
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.sandbox.profile.program_profile import SLOT_MARK
from tlsrt.supervisor.cli.component.available import OWN
from tlsrt.supervisor.cli.component.wheel import by_package
from tlsrt.text import did_you_mean, printable


def check_known(config: Config, address: str) -> None:
    """Refuse an address that no drop-in has. Raises InvalidArgument."""
    added = [*(one.address for one in config.components if one.origin), *(one.name for one in config.failed)]
    if address not in added:
        hint = did_you_mean(address, added) or (f": there are {', '.join(added)}" if added else ": there is none")
        raise InvalidArgument(f"{printable(address, 60)} was not added by `component add`{hint}")


def added_component(config: Config, address: str) -> ComponentConfig:
    """Return a component that was added and may run. Raises InvalidArgument and ConfigError."""
    check_known(config, address)
    found = next((one for one in config.components if one.address == address), None)
    if found is None:
        raise ConfigError(next(one.problems for one in config.failed if one.name == address))
    return found


def approved(config: Config, address: str) -> ParsedManifest:
    """Return the manifest that was approved. Raises ConfigError."""
    path = drop_in_file(config.path, address, APPROVED)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; remove the component, and add it again") from None
    return parse_manifest(data, path)


def named(config: Config, address: str) -> tuple[str, str]:
    """Return package and manifest of a drop-in, also of one that has failed. Raises ConfigError."""
    path = drop_in_file(config.path, address)
    check_known(config, address)
    try:
        said = yaml.safe_load(path.read_text("utf-8"))
        name = said.get("manifest", FILE)
        package = "" if name == ALONE else said["package"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        raise ConfigError(f"{path} does not say which package it is of: correct it, or remove the component") from None
    return str(package), str(name)


def decided(config: Config, address: str) -> Mapping[str, Any]:
    """Return what an operator has decided of the needs and programs of a component, as its drop-in has it."""
    said = yaml.safe_load(drop_in_file(config.path, address).read_text("utf-8"))
    return {key: one for key, one in (said or {}).items() if key in ("needs", "programs")}


def package_if_named(config: Config, address: str) -> str:
    """Return the package of a drop-in, "" for one that does not say it."""
    try:
        return named(config, address)[0]
    except ConfigError:
        return ""  # which must not keep it from being removed


def package_of(one: ComponentConfig, packages: Mapping[str, Distribution]) -> str:
    """Return name and version of the distribution that brings a component; `packages` are those of the environment."""
    found = (packages if one.packages is None else owners(installed([one.packages]))).get(top_level(one.origin))
    if top_level(one.origin) == OWN:
        return f"{OWN} {__version__}"
    alone = " (isolated)" if one.packages is not None else ""
    if found is not None:
        return f"{found.name} {found.version}{alone}"
    return f"program {one.run}" if one.kind == "program" else one.class_path


def version_of(package: str, place: Path | None) -> str:
    """Return name and version of the distribution that a package is of; `place` is the folder of an isolated one's."""
    top = top_level(package)
    if top == OWN and place is None:
        return f"{OWN} {__version__}"
    found = by_package().get(top) if place is None else owners(installed([place])).get(top)
    return f"{found.name} {found.version}" if found is not None else package


def states_of(config: Config, address: str) -> list[Path]:
    """Return where the state of a component may lie: in its own process, in a shared one, of its programs."""
    loop, _, name = address.partition("/")
    shared = process_name(loop, SHARED_PARTS.get(loop, ""))
    own = process_name(loop, name)
    programs = sorted(config.state_dir.glob(f"{own}{SLOT_MARK}*"))
    return [*([config.state_dir / own] if own != shared else []), config.state_dir / shared / name, *programs]
