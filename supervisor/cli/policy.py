"""`policy graph`: who may call whom, as lines or as a picture for Graphviz."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from tlsrt.command_line.fitted import fitted_table, shown_at, terminal_width
from tlsrt.config.access import PolicyRule
from tlsrt.config.processes import loop_of_address
from tlsrt.supervisor.cli.exchange import config_of

_EVERY = "*"


def graph(arguments: argparse.Namespace) -> int:
    """Print the policy of the configuration, with the lines that packages and tlsrt bring."""
    config = config_of(arguments)
    addresses = [one.address for one in config.components]
    with shown_at(terminal_width(is_wide=arguments.wide)):
        print("\n".join(dot(config.policy, addresses) if arguments.dot else rule_lines(config.policy)))
    return 0


def rule_lines(rules: Iterable[PolicyRule]) -> list[str]:
    """Return a line for each pair, by who calls."""
    rows = sorted((source, target, ", ".join(methods)) for (source, target), methods in _joined(rules).items())
    return fitted_table([("WHO", "MAY CALL", "METHODS"), *rows], cut="METHODS")


def dot(rules: Iterable[PolicyRule], addresses: Iterable[str]) -> list[str]:
    """Return a graph in the language of Graphviz: a box for each loop with its components, an arrow for each line."""
    joined = _joined(rules)
    named = {side for pair in joined for side in pair}
    loops: dict[str, list[str]] = {}
    for name in sorted({*addresses, *named}):
        loops.setdefault(loop_of_address(name), []).append(name)
    found = ["digraph policy {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for loop, names in loops.items():
        found += [f"  subgraph {_text(f'cluster_{loop}')} {{", f"    label={_text(loop)};"]
        shape = " [shape=ellipse]" if loop == "client" else ""
        found += [f"    {_text(name)}{shape};" for name in names]
        found.append("  }")
    for (source, target), methods in sorted(joined.items()):
        label = "all" if _EVERY in methods else "\\n".join(methods)
        found.append(f"  {_text(source)} -> {_text(target)} [label={_text(label, is_label=True)}];")
    return [*found, "}"]


def _joined(rules: Iterable[PolicyRule]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for rule in rules:
        methods = found.setdefault((rule.source, rule.target), [])
        methods += [method for method in rule.methods if method not in methods]
    return found


def _text(text: str, *, is_label: bool = False) -> str:
    """Return a quoted string of the language; a label keeps its `\\n`, which breaks the line."""
    escaped = text if is_label else text.replace("\\", "\\\\")
    return '"' + escaped.replace('"', '\\"') + '"'
