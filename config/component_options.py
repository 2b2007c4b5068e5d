"""Options of components, compared with what their classes declare, read from the source. Nothing is imported.

The names are those of the fields of its class `Options`; whether a value fits is checked in the component's own
process, when its class is there. A class without one takes any option, and one whose source does not say all (it
inherits from elsewhere) is not judged here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeGuard

from tlsrt.config.components import ComponentConfig
from tlsrt.config.files import as_config_error
from tlsrt.config.package_search import source_of
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.text import did_you_mean

NAME = "Options"
TreeOf = Callable[[str], ast.Module | None]  # what a module says, None if it is not found or is no Python


def check_options(config: Config, *, process: str | None = None) -> None:
    """Refuse every option that its component does not have. Raises ConfigError with a sentence for each.

    With `process`, only of the components in it.
    """
    if problems := unknown_options(config, process=process):
        raise ConfigError(problems)


def unknown_options(config: Config, *, process: str | None = None) -> list[str]:
    """Return a sentence for every option that its component does not have."""
    asked = [one for one in config.components if one.options and process in (None, one.process)]
    return [sentence for component in asked for sentence in _unknown(component)]


def check_classes(config: Config) -> None:
    """Refuse a class that its module neither defines nor imports. Raises ConfigError with a sentence for each."""
    problems = [sentence for component in config.components if not component.builtin for sentence in _absent(component)]
    if problems:
        raise ConfigError(problems)


def _absent(component: ComponentConfig) -> list[str]:
    module, _, kind = component.class_path.partition(":")
    source = source_of(module, component.packages)
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
    source = source_of(module, component.packages)
    find = partial(source_of, place=component.packages)
    known = declared(source, kind, find) if source is not None else None
    if known is None:
        return []
    has = f"it has {', '.join(known)}" if known else "it has none"
    return [
        f"{_before(component, name)}: unknown option {name}{did_you_mean(name, known) or f': {has}'}"
        for name in component.options
        if name not in known
    ]


def _before(component: ComponentConfig, name: str) -> str:
    place = component.place((name,))
    return f"{place}: {component.address}" if place else f"components.{component.address}"


def declared(source: Path, kind: str, find: Callable[[str], Path | None] = lambda _: None) -> Sequence[str] | None:
    """Return the names of the options of a class, None if its source does not say all of them.

    `find` returns where the source of a module is: options may come from another one of its package.
    """
    tree, node = tree_of(source), class_in(source, kind)
    inner = options_class(node, tree, lambda module: _tree_at(find(module)))[0] if node and tree else None
    if inner is None or not is_whole(inner):
        return None
    return tuple(part.target.id for part in inner.body if is_option(part) and isinstance(part.target, ast.Name))


def _tree_at(source: Path | None) -> ast.Module | None:
    return None if source is None else tree_of(source)


def options_class(node: ast.ClassDef, tree: ast.Module, tree_of: TreeOf) -> tuple[ast.ClassDef | None, ast.Module]:
    """Return the options of a class, defined in it or named by `Options = NAME`, and the module that they are in."""
    for part in node.body:
        if isinstance(part, ast.ClassDef) and part.name == NAME:
            return part, tree
        if isinstance(part, ast.Assign) and [getattr(one, "id", "") for one in part.targets] == [NAME]:
            return defined_class(getattr(part.value, "id", ""), tree, tree_of)
    return None, tree


def defined_class(name: str, tree: ast.Module, tree_of: TreeOf) -> tuple[ast.ClassDef | None, ast.Module]:
    """Return a class by the name that it has in a module, which may import it, and the module that defines it."""
    for part in tree.body:
        if isinstance(part, ast.ClassDef) and part.name == name:
            return part, tree
    for part in tree.body:
        if isinstance(part, ast.ImportFrom) and not part.level and part.module:
            for alias in part.names:
                if (alias.asname or alias.name) == name and (found := tree_of(part.module)) is not None:
                    there = (one for one in found.body if isinstance(one, ast.ClassDef) and one.name == alias.name)
                    return next(there, None), found
    return None, tree


def is_whole(node: ast.ClassDef) -> bool:
    """Tell whether the body of a class says all of its fields."""
    return not node.bases and not node.keywords and all(map(_is_plain, node.body))


def is_option(part: ast.stmt) -> TypeGuard[ast.AnnAssign]:
    """Tell whether a statement in the body of a class makes a field."""
    return isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and not _is_of_class(part.annotation)


def annotation_parts(annotation: ast.expr) -> tuple[ast.expr, str]:
    """Return the type of a field, and the documentation that `Annotated` gives it."""
    if not isinstance(annotation, ast.Subscript) or not isinstance(annotation.slice, ast.Tuple):
        return annotation, ""
    if (getattr(annotation.value, "id", None) or getattr(annotation.value, "attr", None)) != "Annotated":
        return annotation, ""
    shape, *others = annotation.slice.elts
    texts = [one.value for one in others if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return shape, " ".join(texts)


def _is_plain(node: ast.stmt) -> bool:
    """Tell whether a statement in the class adds no option but by an annotation of its own."""
    return isinstance(node, (ast.AnnAssign, ast.Assign, ast.Expr, ast.FunctionDef, ast.ClassDef, ast.Pass))


def _is_of_class(annotation: ast.expr) -> bool:
    words = (getattr(node, name, None) for node in ast.walk(annotation) for name in ("id", "attr", "value"))
    return any(isinstance(word, str) and "ClassVar" in word for word in words)


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
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
