"""The verbs component list and show: what components there are, and what one asks for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from tlsrt import __version__
from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.config.asks import NOTHING, asks_of
from tlsrt.config.components import ComponentConfig
from tlsrt.config.defaults import BUILT_IN
from tlsrt.config.distributions import Distribution
from tlsrt.config.drop_ins import drop_in_file
from tlsrt.config.manifest import changed_tree
from tlsrt.supervisor.cli.component.available import available, available_lines
from tlsrt.supervisor.cli.component.known import added_component, approved, decided, package_of
from tlsrt.supervisor.cli.component.wheel import by_package
from tlsrt.supervisor.cli.exchange import ask, config_of
from tlsrt.supervisor.control.client import NotRunning
from tlsrt.supervisor.launch.fitting import fitting
from tlsrt.supervisor.process.uids import own_identity
from tlsrt.text import size, table

_COLUMNS = ("COMPONENT", "STATE", "PID", "UID", "MEMORY", "HEALTH", "PACKAGE")
_LEAST = ("UID", "PID", "PACKAGE", "MEMORY")  # the first goes first where the terminal is narrow
_RIGHT = frozenset({"PID", "UID", "MEMORY"})


_BUILT_IN = f"tlsrt {__version__}"  # the package of a built-in component


def list_components(arguments: argparse.Namespace) -> Document:
    """Return every component of the host: where it runs, how it is, and what brings it; or those that are off."""
    config = fitting(config_of(arguments))
    if arguments.available:
        return available(config)
    identity = own_identity(config)
    try:
        status = ask(config, "status")
    except NotRunning:
        status = {"loops": []}
    loops = {loop["name"]: loop for loop in status["loops"]}
    known = by_package() if any(one.origin for one in config.components) else {}
    found = [_listed(one, loops.get(one.process), identity.uid(one.process), known) for one in config.components]
    found += [
        {
            "component": one.name, "state": "failed", "pid": None, "uid": None, "memory_kib": None, "health": None,
            "package": "", "why": list(one.problems),
        }
        for one in config.failed
    ]  # fmt: skip
    return {"components": found}


def _listed(one: ComponentConfig, loop: Document | None, uid: int, packages: Mapping[str, Distribution]) -> Document:
    known = next((each for each in (loop or {}).get("components", ()) if each["name"] == one.name), None)
    return {
        "component": one.address,
        "process": one.process,
        "state": loop["state"] if loop is not None else "stopped",
        "pid": loop["pid"] if loop is not None else None,
        "uid": uid,
        "memory_kib": loop["memory_kib"] if loop is not None else None,
        "health": known["health"] if known is not None else None,
        "package": _BUILT_IN if one.builtin else package_of(one, packages),
        "why": [],
    }


def component_lines(answer: Document) -> list[str]:
    if "available" in answer:
        return available_lines(answer)
    rows = [_COLUMNS, *map(_row, answer["components"])]
    failed = [f"{one['component']}: {sentence}" for one in answer["components"] for sentence in one["why"]]
    return [*fitted_table(rows, _RIGHT, least=_LEAST), *([""] if failed else []), *failed]


def _row(one: Document) -> tuple[str, ...]:
    memory = one["memory_kib"]
    return (
        one["component"], one["state"], *("-" if one[key] is None else str(one[key]) for key in ("pid", "uid")),
        "-" if memory is None else size(memory * 1024), one["health"] or "-", one["package"],
    )  # fmt: skip


def show(arguments: argparse.Namespace) -> Document:
    """Return what one component with a manifest is, asks for and may be called by, with the operator's part."""
    config = fitting(config_of(arguments))
    built_in = next((one for one in config.components if one.builtin and one.address == arguments.address), None)
    one = built_in or added_component(config, arguments.address)
    manifest = BUILT_IN.manifests[one.address] if built_in else approved(config, one.address)
    tree = manifest.tree if built_in else changed_tree(manifest.tree, decided(config, one.address))
    return {
        "component": one.address,
        "title": manifest.title,
        "package": _BUILT_IN if built_in else package_of(one, by_package()),
        "class": one.class_path if one.kind == "class" else None,
        "program": str(one.run) if one.kind == "program" else None,
        "process": one.process,
        "asks": [each.document() for each in asks_of(tree, manifest.calls, manifest.reasons)],
        "options": dict(one.options),
        "policy": [
            {"from": rule.source, "to": rule.target, "methods": list(rule.methods)}
            for rule in config.policy
            if one.address in (rule.source, rule.target)
        ],
        "file": str(config.path if built_in else drop_in_file(config.path, one.address)),
    }


def show_lines(answer: Document) -> list[str]:
    asks = [("!" if one["dangerous"] else "", one["kind"], one["what"], one["why"]) for one in answer["asks"]]
    what = f"class {answer['class']}" if answer["class"] else f"the program {answer['program']}"
    found = [
        f"{answer['component']}: {answer['title']}",
        f"from {answer['package']}, {what}, in the process {answer['process']}",
        "",
        *(table([("", "ASKS FOR", "WHAT", "WHY"), *asks]) if asks else [NOTHING]),
    ]
    if answer["options"]:
        found += ["", *(f"option {name}: {json.dumps(value)}" for name, value in answer["options"].items())]
    lines = [f"{one['from']} -> {one['to']}: {', '.join(one['methods'])}" for one in answer["policy"]]
    return [*found, *(["", *lines] if lines else []), "", f"yours to change: {answer['file']}"]
