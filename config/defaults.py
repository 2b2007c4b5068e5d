"""What a host has without saying so: the components that come with tlsrt, and the built-in policy lines.

These components have manifests as those of any package have, beside their classes, and the same reader. What is wrong
with one of them makes that component fail, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlsrt.config import program_kind
from tlsrt.config.access import PolicyRule
from tlsrt.config.components import ComponentConfig
from tlsrt.config.failed import FailedComponent
from tlsrt.config.files import as_config_error, read_bounded
from tlsrt.config.manifest import FILE, MANIFEST_MAX, ParsedManifest, changed_tree, parse_manifest
from tlsrt.config.processes import part_for
from tlsrt.config.schema import DEFAULT_LOOPS
from tlsrt.config.setting import Builder, Where
from tlsrt.errors import ConfigError

# Addresses and processes of the runtime itself.
RESERVED_NAMES = (
    "acme",
    "authority",
    "client",
    "door",
    "export",
    "helper",
    "learner",
    "metrics",
    "network_helper",
    "resolver",
    "supervisor",
)
LOOPS = Path(__file__).parent.parent / "loops"
_MANIFESTS = {  # address -> folder below LOOPS, of NAME.tlsrt.yaml
    "primary/kernel": "facts",
    "primary/hardware": "facts",
    "primary/events": "primary",
    "secondary/store": "secondary",
    "third/io": "third",
    "forth/power": "forth",
    "external/network": "external",
}


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """The components that come with tlsrt, by address, and those whose manifest is wrong."""

    manifests: Mapping[str, ParsedManifest]
    failed: tuple[FailedComponent, ...] = ()

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset({*self.manifests, *(one.name for one in self.failed)})

    def joined(self, named: Mapping[str, Any]) -> dict[str, Any]:
        """Return the trees of all components: these, and behind them those that a configuration names.

        What it says of one of these takes the place of the same in its manifest; one with a class is another
        component, and null switches one off.
        """
        found: dict[str, Any] = {address: manifest.tree for address, manifest in self.manifests.items()}
        ours = self.ours(named)
        for address, tree in named.items():
            found[address] = changed_tree(found[address], tree) if address in ours else tree
        return found

    def ours(self, named: Mapping[str, Any]) -> set[str]:
        """Return the addresses at which the component is one of these, in a configuration that names others."""
        none: dict[str, Any] = {}
        return {
            address
            for address in self.manifests
            if isinstance(tree := named.get(address, none), Mapping) and "class" not in tree
        }

    def failed_in(self, named: Mapping[str, Any]) -> tuple[FailedComponent, ...]:
        """Return those that are wrong, and are neither switched off nor replaced."""
        none: dict[str, Any] = {}
        return tuple(
            one for one in self.failed if isinstance(tree := named.get(one.name, none), Mapping) and "class" not in tree
        )

    def place(self, where: Where) -> str:
        """Return where a key below `components` stands in the manifest."""
        return self.manifests[where[1]].places[where[2:]]


def read_built_in(folder: Path = LOOPS) -> BuiltIn:
    """Return the components whose manifests lie below a folder. Raises nothing for any bytes."""
    manifests: dict[str, ParsedManifest] = {}
    failed: list[FailedComponent] = []
    for address, room in _MANIFESTS.items():
        path = folder / room / f"{address.partition('/')[2]}.{FILE}"
        try:
            with as_config_error("read", path):
                data = read_bounded(path, MANIFEST_MAX, "the manifest")
            manifest = parse_manifest(data, path)
            if manifest.address != address:
                raise ConfigError(f"{manifest.places['component',]}: this is the manifest of {address}")
            manifests[address] = manifest
        except ConfigError as error:
            failed.append(FailedComponent(address, tuple(error.problems)))
    return BuiltIn(manifests, tuple(failed))


def component_of(
    address: str, tree: Mapping[str, Any], builder: Builder, *, is_builtin: bool = False, origin: str = ""
) -> ComponentConfig:
    """Return a component of its checked tree, which has a class or is a program."""
    loop, name = address.split("/")
    where = ("components", address)
    values = {"class_path": program_kind.CLASS} | builder.values(ComponentConfig, tree, where)
    part = part_for(address, is_builtin=is_builtin, placement=tree.get("process", "own"))
    made = ComponentConfig(loop, name, **values, part=part, builtin=is_builtin, origin=origin)
    return program_kind.with_program(made, builder.place(where)) if made.kind == "program" else made


BUILT_IN = read_built_in()
COMPONENTS: tuple[ComponentConfig, ...] = tuple(
    component_of(address, one.tree, Builder(place=BUILT_IN.place), is_builtin=True)
    for address, one in BUILT_IN.manifests.items()
)

# The processes of the default loops: each loop's, and behind it those of its further ones.
PROCESSES: tuple[str, ...] = tuple(
    process
    for loop in DEFAULT_LOOPS
    for process in dict.fromkeys((loop, *(one.process for one in COMPONENTS if one.loop == loop)))
)

POLICY: tuple[PolicyRule, ...] = ()  # default deny: no built-in component calls another one
