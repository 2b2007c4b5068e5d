"""`component remove`."""

from __future__ import annotations

import argparse
import re
from contextlib import suppress
from pathlib import Path

from tlsrt.command_line.table import Document
from tlsrt.config.drop_ins import APPROVED, DROP_IN
from tlsrt.config.manifest import top_level
from tlsrt.config.remove_tree import remove_tree
from tlsrt.config.secrets import write_sealings
from tlsrt.config.setting import ADDRESS
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.supervisor.cli.component.addition import begin
from tlsrt.supervisor.cli.component.available import OWN
from tlsrt.supervisor.cli.component.isolation import number_of
from tlsrt.supervisor.cli.component.journal import whole_config
from tlsrt.supervisor.cli.component.known import check_known, package_if_named, states_of
from tlsrt.supervisor.cli.component.wheel import distribution_of, uninstall


def remove(arguments: argparse.Namespace) -> Document:
    """Let the host run a component no more; state and secrets stay, unless they are to be purged."""
    config = whole_config(arguments)
    address: str = arguments.address
    check_known(config, address)
    if not re.fullmatch(ADDRESS, address):
        raise InvalidArgument(f"{config.path.parent / address} is no component's file: remove it yourself")
    package = top_level(package_if_named(config, address))
    if package == OWN and arguments.uninstall:
        raise InvalidArgument(f"{address} comes with tlsrt, and there is nothing to uninstall: leave --uninstall out")
    states = states_of(config, address)
    name = address.replace("/", ".")
    with begin(config) as change:
        is_isolated = False
        with suppress(ConfigError):  # it cannot be read, and goes as well
            is_isolated = bool(number_of(change.present(f"{name}{DROP_IN}") or b"", name))
        answer = change.take({f"{name}{DROP_IN}": None, f"{name}{APPROVED}": None})
    if any(loop["name"] == name and loop["outcome"] == "failed" for loop in (answer or {"loops": []})["loops"]):
        raise ConfigError(f"{address} is removed, and its process does not end: its state stays; see `status`")
    is_configured = any(one.address == address and not one.origin for one in config.components)
    if arguments.purge and not is_configured:
        for state in states:
            _purge(state, address)
        write_sealings(config.state_dir, address, {})
    others = [
        one for one in config.components
        if (top_level(one.origin), one.packages) == (package, None) and one.address != address
    ]  # fmt: skip
    failed = [
        one.name
        for one in config.failed
        if one.name != address and top_level(package_if_named(config, one.name)) == package
    ]
    distribution = None
    if package not in ("", OWN) and not is_isolated and not others and not failed:
        distribution = distribution_of(package)
    if arguments.uninstall and distribution is not None:
        uninstall(distribution.name)
    return {
        "removed": address,
        "host": answer is not None,
        "state": next((str(state) for state in states if state.is_dir()), None),
        "installed": distribution.name if distribution is not None and not arguments.uninstall else None,
        "isolated": is_isolated,
    }


def _purge(state: Path, address: str) -> None:
    try:
        if state.is_dir():
            remove_tree(state)
    except OSError as error:
        raise ConfigError(f"{address} is removed; cannot remove {state}: {error.strerror}") from None


def remove_lines(answer: Document) -> list[str]:
    found = [f"{answer['removed']} is removed" + ("" if answer["host"] else "; the host does not run")]
    if answer["state"]:
        found.append(f"its state is kept in {answer['state']}; --purge would remove it")
    if answer["isolated"]:
        found.append("the packages that it alone had are removed with it")
    if answer["installed"]:
        found.append(f"the package {answer['installed']} is still installed; --uninstall would remove it")
    return found
