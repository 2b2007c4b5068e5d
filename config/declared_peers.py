"""Peers that a component's class declares, read from its source. Pure: nothing is imported or run.

From these the lines `calls` of a manifest are derived. What cannot be seen in the source is not guessed: a peer that
is used in another way than by calling a method of it has the address alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

EVENTS = "primary/events"  # a method for each kind, so that policy can tell them apart
_CALLING = ("call", "stream", "upload", "exchange")  # methods of a component with an address and a method


def peers_of(source: str | bytes, kind: str) -> Mapping[str, frozenset[str] | None]:
    """Return for each peer of a class its methods that are used, or None where they cannot all be seen.

    Peers are those that `peer(...)` declares in the class or a base of it in the same source, and the targets of
    `self.call`, `stream`, `upload`, `exchange`, `subscribe` and `follow` that are written as texts. Raises SyntaxError.
    """
    found: dict[str, set[str] | None] = {}
    for node in _classes(ast.parse(source), kind):
        _read_class(node, found)
    return {address: None if methods is None else frozenset(methods) for address, methods in found.items()}


def _classes(tree: ast.Module, kind: str) -> list[ast.ClassDef]:
    """Return a class and its bases that the source has."""
    known = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    found: list[ast.ClassDef] = []
    names = [kind]
    while names:
        node = known.get(names.pop())
        if node is not None and node not in found:
            found.append(node)
            names += [base.id for base in node.bases if isinstance(base, ast.Name)]
    return found


def _read_class(node: ast.ClassDef, found: dict[str, set[str] | None]) -> None:
    declared = dict(_declared(node))
    for address in declared.values():
        found.setdefault(address, set())
    for function in node.body:
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and function.args.args:
            _read_method(function, function.args.args[0].arg, declared, found)


def _declared(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the name and address of each `NAME = peer("ADDRESS")` of a class body."""
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if not isinstance(value, ast.Call) or _last_name(value.func) != "peer":
            continue
        address = _text(value, 0, "address")
        if address is not None:
            yield from ((target.id, address) for target in targets if isinstance(target, ast.Name))


def _read_method(
    function: ast.AST, own: str, declared: Mapping[str, str], found: dict[str, set[str] | None]
) -> None:  # fmt: skip
    seen: set[int] = set()  # uses of a peer that are calls of a method of it
    for node in ast.walk(function):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        target = node.func.value
        if _is_own(target, own) and isinstance(target, ast.Attribute) and target.attr in declared:
            seen.add(id(target))
            _add(found, declared[target.attr], node.func.attr)
        elif isinstance(target, ast.Name) and target.id == own:
            _read_call(node, node.func.attr, found)
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and _is_own(node, own) and node.attr in declared and id(node) not in seen:
            found[declared[node.attr]] = None  # it is given away, or its method is


def _read_call(node: ast.Call, name: str, found: dict[str, set[str] | None]) -> None:
    """Read `self.call("ADDRESS", "METHOD")` and its like."""
    address = _text(node, 0, "target")
    if address is None:
        return
    second = _text(node, 1, "method" if name in _CALLING else "topic")
    if name in _CALLING:
        _add(found, address, second)
    elif name == "subscribe":
        _add(found, address, "subscribe")
    elif name == "follow":
        _add(found, address, second if address == EVENTS else "subscribe")


def _add(found: dict[str, set[str] | None], address: str, method: str | None) -> None:
    methods = found.setdefault(address, set())
    if method is None:
        found[address] = None
    elif methods is not None:
        methods.add(method)


def _is_own(node: ast.AST, own: str) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == own


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _text(call: ast.Call, position: int, name: str) -> str | None:
    """Return an argument that is written as a text."""
    given = call.args[position] if len(call.args) > position else None
    for keyword in call.keywords:
        given = keyword.value if keyword.arg == name else given
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None
