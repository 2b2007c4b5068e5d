"""Options of components, compared with what their classes declare, read from the source. Nothing is imported.

A class says `option_names = ("size", "color")`. One that says nothing takes any option, and checks them itself.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from tlsrt.config.components import ComponentConfig
from tlsrt.config.files import as_config_error
from tlsrt.config.packages import source_of
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.text import did_you_mean

NAME = "option_names"


def check_options(config: Config) -> None:
    """Refuse every option that its component does not have. Raises ConfigError with a sentence for each."""
    problems = [sentence for component in config.components if component.options for sentence in _unknown(component)]
    if problems:
        raise ConfigError(problems)


def check_classes(config: Config) -> None:
    """Refuse a class that its module neither defines nor imports. Raises ConfigError with a sentence for each."""
    problems = [sentence for component in config.components if not component.builtin for sentence in _absent(component)]
    if problems:
        raise ConfigError(problems)


def _absent(component: ComponentConfig) -> list[str]:
    module, _, kind = component.class_path.partition(":")
    source = source_of(module)
    tree = tree_of(source) if source is not None else None
    if tree is None:
        return []
    bound = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    others = [node for node in tree.body if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))]
    is_named = any(
        getattr(part, "id", "") == kind
        or (isinstance(part, ast.ClassDef) and part.name == kind)
        or (isinstance(part, ast.alias) and (part.asname or part.name) in (kind, "*"))
        for node in others
        for part in ast.walk(node)
    )  # it is imported or made, perhaps
    if kind in bound or is_named:
        return []
    hint = did_you_mean(kind, bound) or (f": it has {', '.join(bound)}" if bound else ": it has none")
    return [f"components.{component.address}: {module} has no class {kind}{hint}"]


def _unknown(component: ComponentConfig) -> list[str]:
    module, _, kind = component.class_path.partition(":")
    source = source_of(module)
    known = declared(source, kind) if source is not None else None
    if known is None:
        return []
    has = f"it has {', '.join(known)}" if known else "it has none"
    return [
        f"components.{component.address}: unknown option {name}{did_you_mean(name, known) or f': {has}'}"
        for name in component.options
        if name not in known
    ]


def declared(source: Path, kind: str) -> Sequence[str] | None:
    """Return the option names in the body of a class, None if it declares none there."""
    node = class_in(source, kind)
    values = (_assigned(statement) for statement in node.body) if node is not None else ()
    return next((value for value in values if value is not None), None)


def class_in(source: Path, kind: str) -> ast.ClassDef | None:
    """Return a class of a source file, None if there is none that can be read. Raises ConfigError."""
    tree = tree_of(source)
    nodes = ast.walk(tree) if tree is not None else ()
    return next((node for node in nodes if isinstance(node, ast.ClassDef) and node.name == kind), None)


def tree_of(source: Path) -> ast.Module | None:
    """Return what a source file says, None if it cannot be parsed: the import says more. Raises ConfigError."""
    with as_config_error("read", source):
        text = source.read_bytes()
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _assigned(statement: ast.stmt) -> Sequence[str] | None:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if not any(isinstance(target, ast.Name) and target.id == NAME for target in targets):
        return None
    try:
        found = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
    except (ValueError, AttributeError):
        return None
    is_names = isinstance(found, (tuple, list)) and all(isinstance(name, str) for name in found)
    return tuple(found) if is_names else None
