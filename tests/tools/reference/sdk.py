"""The SDK of components and clients, from its docstrings: what `tlsrt` and `tlsrt.testing` export."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import tlsrt
import tlsrt.asking
import tlsrt.bus
import tlsrt.sources
import tlsrt.testing
from tlsrt import Component
from tools.reference.markdown import code, table

SECTIONS: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("Components", "What a component's class is made of.", ("Component", "handler")),
    ("Clients", "How a program outside calls components.", ("Client", "AsyncClient")),
)
WIDTH = 118
Function = ast.FunctionDef | ast.AsyncFunctionDef


def body() -> str:
    """Return the page: the sections that people look for first, then what else is exported, then the errors."""
    named = {name for _, _, names in SECTIONS for name in names}
    errors = [name for name in tlsrt.__all__ if _is_error(getattr(tlsrt, name))]
    others = [name for name in tlsrt.__all__ if name not in {*named, *errors, "__version__"}]
    parts = [_section(title, about, tlsrt, names) for title, about, names in SECTIONS]
    parts.insert(1, _section("For components", "What else `from tlsrt import ...` gives.", tlsrt, others))
    about = "From `tlsrt.bus`, with the extra `dbus`; what may be asked there is [granted](../guide/grants.md#d-bus)."
    parts.append(_section("On D-Bus", about, tlsrt.bus, ("Bus", "BusPeer", "plain")))
    about = "From `tlsrt.asking`: a question to [a language model](../guide/ask.md), with tools of who asks."
    parts.append(_section("Asking", about, tlsrt.asking, ("converse", "offered", "WantedCall")))
    about = "From `tlsrt.sources`: what an answer may stand on, found with the rights of who asks."
    found = ("searched", "logged", "received", "filed", "kept", "period", "expect_some", "Source", "Gathered", "Period")
    parts.append(_section("Sources", about, tlsrt.sources, found))
    about = "From `tlsrt.testing`; see [testing](../guide/testing.md)."
    parts.append(_section("For tests", about, tlsrt.testing, tlsrt.testing.__all__))
    rows = [(code(name), code(getattr(tlsrt, name).__base__.__name__), _first(getattr(tlsrt, name))) for name in errors]
    parts.append(f"## Errors\n\n{table(('error', 'is a', 'when'), rows)}")
    return "\n\n".join(parts)


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def _section(title: str, about: str, module: ModuleType, names: Sequence[str]) -> str:
    return "\n\n".join([f"## {title}", about, *(_entry(name, getattr(module, name)) for name in names)])


def _entry(name: str, value: Any) -> str:
    """Return what the source says of a class or function: it is the same for each version of Python."""
    node = _node(value)
    parts = [f"### `{name}`"]
    if isinstance(node, ast.ClassDef):
        parts += [_made(name, node, is_dataclass=dataclasses.is_dataclass(value)), _text(node)]
        parts += [f"{_signature(one)}\n\n{_text(one)}" for one in _public(node, *map(_node, _parts_of(value)))]
    else:
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        parts += [_signature(node), _text(node)]
    return "\n\n".join(part for part in parts if part)


def _functions(node: ast.ClassDef) -> list[Function]:
    return [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]


def _node(value: Any) -> Any:
    [node] = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body
    return node


def _parts_of(kind: type) -> list[type]:
    """Return the classes that a component's class is made of besides."""
    return [one for one in kind.__mro__[1:] if one.__module__.startswith("tlsrt.loops.")] if kind is Component else []


def _public(*nodes: ast.ClassDef) -> list[Function]:
    return [
        one for node in nodes for one in _functions(node) if not one.name.startswith("_") and ast.get_docstring(one)
    ]


def _made(name: str, node: ast.ClassDef, *, is_dataclass: bool) -> str:
    """Return how an object of a class is made, "" where only the runtime makes one."""
    if is_dataclass:
        fields = [ast.unparse(one) for one in node.body if isinstance(one, ast.AnnAssign)]
        return f"```text\n{name}({', '.join(fields)})\n```"
    made = next((one for one in _functions(node) if one.name == "__init__"), None)
    return _signature(made, name) if made is not None else ""


def _signature(node: Function, name: str = "") -> str:
    """Return how a function is called, or what a property is."""
    result = ast.unparse(node.returns) if node.returns is not None and not name else ""
    if any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list):
        return f"```text\n{node.name}: {result}\n```"
    for first in (node.args.posonlyargs, node.args.args):
        if first and first[0].arg in ("self", "cls"):
            del first[0]
            break
    word = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    end = f" -> {result}" if result else ""
    line = f"{word}{name or node.name}({ast.unparse(node.args)}){end}"
    if len(line) > WIDTH:
        line = f"{word}{name or node.name}(\n{textwrap.indent(_wrapped(node.args), '    ')}\n){end}"
    return f"```text\n{line}\n```"


def _wrapped(arguments: ast.arguments) -> str:
    text = ast.unparse(arguments).replace(" ", "\0").replace(",\0", ", ")  # a break only between arguments
    lines = textwrap.wrap(text, WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def _text(node: Function | ast.ClassDef) -> str:
    """Return a docstring as Markdown: what is indented in it is an example."""
    lines: list[str] = []
    is_code = False
    for line in (ast.get_docstring(node) or "").splitlines():
        indented = line.startswith("    ")
        if indented != is_code and line:
            lines.append("```python" if indented else "```")
            if not indented:
                lines.append("")
            is_code = indented
        lines.append(line.removeprefix("    ") if is_code else line)
    if is_code:
        lines.append("```")
    text = "\n".join(lines)
    return re.sub(r"\n+\n```\n", "\n```\n", text) if "```" in text else text


def _first(value: Any) -> str:
    return " ".join((value.__doc__ or "").split("\n\n")[0].split())
