"""Options that a component cannot run without, as the source of its class says them. Nothing is imported or run.

`component add` names those that were not given before it asks for a yes. What a class checks of values, and options
that it inherits, are seen in its own process only.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from tlsrt.config.component_options import TreeOf, annotation_parts, defined_class, is_option, is_whole, options_class
from tlsrt.config.declared_calls import FindSource

_DEPTH_MOST = 3  # of types within types of an example
_FIELDS_MOST = 6  # of a class in an example: a package may have any number of them
_EXAMPLE_MOST = 200  # characters
_FIELD = "field"  # of dataclasses: an option with it may have no default yet
_DEFAULTS = ("default", "default_factory")
_ANY = "VALUE"
_PLAIN: Mapping[str, str] = {
    "str": "TEXT", "int": "NUMBER", "float": "NUMBER", "bool": "true", "Path": "PATH", "bytes": "TEXT",
}  # fmt: skip
_MAPPINGS, _LISTS = ("dict", "Mapping"), ("list", "tuple", "set", "frozenset", "Sequence")


@dataclass(frozen=True, slots=True)
class RequiredOption:
    """An option without a default; `example` is the form of its value, in YAML."""

    name: str
    doc: str
    example: str


def required_options(class_path: str, find: FindSource) -> tuple[RequiredOption, ...]:
    """Return the options without a default of a class, MODULE:CLASS; none where its source does not say all of them.

    `find` returns the source of a module, also of a package that is not installed.
    """
    module, _, kind = class_path.partition(":")
    tree_of = cache(lambda name: _tree(name, find))
    tree = tree_of(module)
    node = _class_in(tree, kind)
    if tree is None or node is None:
        return ()
    inner, place = options_class(node, tree, tree_of)
    if inner is None or not is_whole(inner):
        return ()
    found: list[RequiredOption] = []
    for part in _required(inner):
        shape, doc = annotation_parts(part.annotation)
        assert isinstance(part.target, ast.Name)
        example = _example(shape, place, tree_of, _DEPTH_MOST)
        found.append(RequiredOption(part.target.id, doc, example if len(example) <= _EXAMPLE_MOST else _ANY))
    return tuple(found)


def _tree(module: str, find: FindSource) -> ast.Module | None:
    source = find(module)
    try:
        return None if source is None else ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # its import says more


def _class_in(tree: ast.Module | None, name: str) -> ast.ClassDef | None:
    nodes = tree.body if tree is not None else ()
    return next((node for node in nodes if isinstance(node, ast.ClassDef) and node.name == name), None)


def _required(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """Return the fields of a class that have no default."""
    return [part for part in node.body if is_option(part) and not _has_default(part.value)]


def _has_default(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call):
        return value is not None
    name = getattr(value.func, "attr", None) or getattr(value.func, "id", None)
    return name != _FIELD or any(one.arg is None or one.arg in (*_DEFAULTS, "init") for one in value.keywords)


def _example(shape: ast.expr, tree: ast.Module, tree_of: TreeOf, depth: int) -> str:
    """Return how a value of a type is written: `{NAME: {path: PATH}}`."""
    shape, _ = annotation_parts(shape)
    if not depth:
        return _ANY
    if isinstance(shape, ast.BinOp):
        return _example(shape.left, tree, tree_of, depth)
    if isinstance(shape, ast.Constant) and isinstance(shape.value, str):
        return _PLAIN.get(shape.value, _ANY)
    if isinstance(shape, ast.Subscript):
        name = getattr(shape.value, "id", "")
        inner = shape.slice.elts if isinstance(shape.slice, ast.Tuple) else [shape.slice]
        if name in _MAPPINGS and len(inner) == 2:
            return f"{{NAME: {_example(inner[1], tree, tree_of, depth - 1)}}}"
        if name in _LISTS and inner:
            return f"[{_example(inner[0], tree, tree_of, depth - 1)}]"
        if name == "Literal" and isinstance(inner[0], ast.Constant):
            return str(inner[0].value)
        return _ANY
    name = getattr(shape, "id", "")
    if name in _PLAIN:
        return _PLAIN[name]
    return _example_of_class(name, tree, tree_of, depth) or _ANY


def _example_of_class(name: str, tree: ast.Module, tree_of: TreeOf, depth: int) -> str:
    """Return the fields that an object must have, "" if its class cannot be found: here, or where it comes from."""
    node, place = defined_class(name, tree, tree_of)
    if node is None or not is_whole(node):
        return ""
    fields = [
        f"{part.target.id}: {_example(part.annotation, place, tree_of, depth - 1)}"
        for part in _required(node)[:_FIELDS_MOST]
        if isinstance(part.target, ast.Name)
    ]
    return f"{{{', '.join(fields)}}}"
