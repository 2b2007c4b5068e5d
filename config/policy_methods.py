"""Methods that the policy names, compared with the handlers of classes, read from the source. Nothing is imported.

A class that has other bases than Component may have methods from there, so nothing is said of it. What is found is a
warning: a line may be written before the method is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path

from tlsrt.config.access import PolicyRule
from tlsrt.config.component_options import class_in
from tlsrt.config.components import ComponentConfig
from tlsrt.config.package_search import source_of
from tlsrt.config.schema import Config
from tlsrt.text import did_you_mean

EVERY = ("describe", "metrics", "subscribe")  # that each component has
ANY = "*"


def unknown_methods(config: Config, rules: Iterable[PolicyRule]) -> list[str]:
    """Return a sentence for each method that a rule names and its target does not have."""
    classes = {component.address: component for component in config.components}
    found: list[str] = []
    for rule in rules:
        named = [method for method in rule.methods if method != ANY]
        target = classes.get(rule.target)
        known = _methods_of(target) if named and target is not None else None
        if known is None:
            continue
        for method in named:
            if method not in (*known, *EVERY):
                has = f": it has {', '.join(known)}" if known else ": it has none"
                hint = did_you_mean(method, known) or has
                found.append(
                    f"policy: {rule.source} may call {method} of {rule.target}, which has no such method{hint}"
                )
    return found


def _methods_of(component: ComponentConfig) -> Sequence[str] | None:
    if component.kind == "program":
        return [offer.name for offer in component.offers]
    return handlers_of(component.class_path, component.packages)


def handlers_of(class_path: str, place: Path | None = None) -> Sequence[str] | None:
    """Return the handlers in the body of a class; None if its source does not say all. Raises ConfigError."""
    module, _, kind = class_path.partition(":")
    source: Path | None = source_of(module, place)
    node = class_in(source, kind) if source is not None else None
    if node is None or not all(_name_of(base) == "Component" for base in node.bases):
        return None
    functions = (each for each in node.body if isinstance(each, (ast.AsyncFunctionDef, ast.FunctionDef)))
    return [each.name for each in functions if any(_name_of(one) == "handler" for one in each.decorator_list)]


def _name_of(node: ast.expr) -> str:
    """Return the last name of `handler`, `tlsrt.handler` and `handler(idempotent=True)`."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
