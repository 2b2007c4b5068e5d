"""Methods that a program offers as a component: names, arguments and types, as its manifest says them. Pure.

    offers: {boil: {says: boils water, arguments: {litres: float, mode: "'quick' | 'gentle' = 'quick'"}, returns: str}}

A type is what JSON can carry, written as in Python: null, bool, int, float, str, any, list[...], dict[str, ...], texts
in quotes that are meant themselves, and alternatives between `|`. An argument may have a default behind `=`.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, Union, get_args, get_origin

from tlsrt.config.setting import NAME, NAME_SAYS, boolean, mapping, text

_PLAIN: Mapping[str, Any] = {
    "null": None, "None": None, "bool": bool, "int": int, "float": float, "str": str, "any": Any,
}  # fmt: skip
_RUNTIMES = ("describe", "subscribe")  # what every component has
_DEPTH_MOST = 8
_WORDS: Mapping[str, object] = {"null": None, "true": True, "false": False}


class _Nothing(Enum):
    """No default. A member, as the configuration reaches a process pickled, and there it must be the same object."""

    NOTHING = "nothing"


_NOTHING: Final = _Nothing.NOTHING


@dataclass(frozen=True, slots=True)
class OfferedType:
    """A type, as it is written and as an annotation; equal texts, equal types. An argument may have a default."""

    text: str
    annotation: Any = field(compare=False, repr=False)
    default: Any = field(default=_NOTHING, compare=False, repr=False)

    @property
    def has_default(self) -> bool:
        """Tell whether an argument of this type may be left out."""
        return self.default is not _NOTHING


def parse_type(text: str) -> OfferedType:
    """Return the type that a text says. Raises ValueError with a sentence."""
    return OfferedType(text, _annotation(_expression(text, text), text, _DEPTH_MOST))


def parse_argument(text: str) -> OfferedType:
    """Return the type of an argument, which may have a default: `int = 3`. Raises ValueError with a sentence."""
    kind, equals, default = text.partition("=")
    annotation = _annotation(_expression(kind, text), text, _DEPTH_MOST)
    if not equals:
        return OfferedType(text, annotation)
    value = _default(default, text)
    if not _fits(annotation, value):
        raise ValueError(f"{text!r}: its default is not of its type")
    return OfferedType(text, annotation, value)


def _default(source: str, shown: str) -> object:
    if source.strip() in _WORDS:
        return _WORDS[source.strip()]
    try:
        value = ast.literal_eval(_expression(source, shown))
    except (ValueError, TypeError, MemoryError, RecursionError):
        value = _NOTHING
    if type(value) not in (bool, int, float, str, type(None)):
        raise ValueError(f"{shown!r}: a default is null, true, false, a number or a text in quotes")
    return value


def _fits(annotation: Any, value: object) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_fits(one, value) for one in get_args(annotation))
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    if annotation is float and type(value) is int:
        return True
    return annotation is Any or type(value) is (type(None) if annotation is None else annotation)


def _expression(source: str, shown: str) -> ast.expr:
    try:
        return ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{shown!r} is no type, such as int, list[str] or float | null") from None


def _annotation(node: ast.expr, shown: str, depth: int) -> Any:
    if depth:
        if isinstance(node, ast.Name) and node.id in _PLAIN:
            return _PLAIN[node.id]
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, str)):
            return None if node.value is None else Literal[node.value]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return Union[_annotation(node.left, shown, depth - 1), _annotation(node.right, shown, depth - 1)]  # noqa: UP007
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            if node.value.id == "list":
                return list[_annotation(node.slice, shown, depth - 1)]  # type: ignore[misc]
            inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else []
            if node.value.id == "dict" and len(inner) == 2 and isinstance(inner[0], ast.Name) and inner[0].id == "str":
                return dict[str, _annotation(inner[1], shown, depth - 1)]  # type: ignore[misc]
    raise ValueError(
        f"{shown!r} is no type that JSON can carry: write null, bool, int, float, str, any, list[...], "
        "dict[str, ...], a text in quotes, or alternatives between |"
    )


@dataclass(frozen=True, slots=True)
class OfferConfig:
    """A method that a program answers, by JSON-RPC."""

    name: str
    says: str = field(metadata=text("What it does, for its callers.", least=3, most=1000, example="boils water"))
    arguments: Mapping[str, OfferedType] = field(
        default_factory=dict[str, OfferedType],
        metadata=mapping(
            "Its arguments by name, each with its type, and perhaps a default behind `=`.",
            text("A type.", parse=parse_argument, most=400),
            32,
            example="{litres: float, mode: \"str = 'quick'\"}",
        ),
    )
    returns: OfferedType = field(
        default=OfferedType("null", None),
        metadata=text("The type of its result.", parse=parse_type, most=400, default_says="null", example="str"),
    )
    idempotent: bool = field(
        default=False, metadata=boolean("It may run twice without harm, so a caller may repeat it.")
    )


OFFER_NAME = rf"(?!(?:{'|'.join(_RUNTIMES)})$){NAME}"
OFFER_NAME_SAYS = f"{NAME_SAYS}; {' and '.join(_RUNTIMES)} are those of every component"
