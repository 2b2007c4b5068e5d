"""Validation of handler parameters: checker, short text and JSON Schema of an annotation.

Theory of operation: `compile_shape` walks an annotation once, at class creation, and returns a `ParameterType`. Its
`check` takes a value as it came off the wire (what msgpack can hold) and returns the value for the handler, or raises
Mismatch, which carries the path to the wrong place; the path is put together only while the exception travels
outwards, so a good value pays nothing for it. No annotation may recurse, so no value can make a checker recurse
deeper than the annotation is written.

It is our own because these types are our wire contract, which a library would widen with every release (coercions,
dates, subclasses), and because importing msgspec alone was measured at 28 to 56 ms, a tenth of the time a host has
to start five loops.
"""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from tlsrt.errors import MisuseError
from tlsrt.loops.component.types import Check, Length, Mismatch, ParameterType, Pattern, Range, shown, type_name
from tlsrt.text import did_you_mean

__all__ = ["Length", "Pattern", "Range", "compile_shape"]


def _mismatch(expected: str, value: object) -> Mismatch:
    return Mismatch(f"expected {expected}, got {type_name(value)}")


def _check_any(value: object) -> object:
    return value


def _check_float(value: object) -> float:
    if type(value) is float:
        return value
    if type(value) is not int:
        raise _mismatch("float", value)
    try:
        return float(value)
    except OverflowError:
        raise Mismatch("expected float, got an int too large for one") from None


def _exact(kind: type) -> Check:
    """A checker for exactly one type: bool is not int."""
    name = "null" if kind is type(None) else kind.__name__

    def check(value: object) -> object:
        if type(value) is not kind:
            raise _mismatch(name, value)
        return value

    return check


_ANY = ParameterType(_check_any, "any", {})
_PLAIN: dict[object, ParameterType] = {
    Any: _ANY,
    object: _ANY,
    None: ParameterType(_exact(type(None)), "null", {"type": "null"}),
    type(None): ParameterType(_exact(type(None)), "null", {"type": "null"}),
    bool: ParameterType(_exact(bool), "bool", {"type": "boolean"}),
    int: ParameterType(_exact(int), "int", {"type": "integer"}),
    float: ParameterType(_check_float, "float", {"type": "number"}),
    str: ParameterType(_exact(str), "str", {"type": "string"}),
    bytes: ParameterType(_exact(bytes), "bytes", {"type": "string", "contentEncoding": "base64"}),
}


OPTION = object()  # around an annotation that is an option's: of a file, so it may be a Path
_PATH_MOST = 4096


def _check_path(value: object) -> Path:
    """An absolute path: what a relative one begins at would depend on the process."""
    if isinstance(value, Path):
        return value  # a default
    if type(value) is not str:
        raise _mismatch("an absolute path", value)
    if not value.startswith("/") or len(value) > _PATH_MOST or "\0" in value:
        raise Mismatch(f"expected an absolute path, got {shown(value)}", near=True)
    return Path(value)


_PATH = ParameterType(_check_path, "path", {"type": "string", "pattern": "^/", "maxLength": _PATH_MOST})
_INSTEAD = {  # what people write, and what says the same
    "datetime": "a float of seconds since 1970, or text",
    "date": "text, such as 2026-01-31",
    "time": "text, such as 12:30",
    "timedelta": "a float of seconds",
    "Path": "str",
    "Decimal": "str",
    "UUID": "str",
    "set": "list",
    "frozenset": "list",
    "Sequence": "list",
    "Iterable": "list",
    "Mapping": "dict",
    "bytearray": "bytes",
    "complex": "two floats",
}


def _unsupported(annotation: Any, *, is_option: bool) -> MisuseError:
    """Say what is not carried, and what to write instead."""
    name = getattr(get_origin(annotation) or annotation, "__name__", None) or repr(annotation)
    if isinstance(annotation, TypeVar):
        name = f"type variable {name}"
    kind = annotation if isinstance(annotation, type) else None
    instead = _INSTEAD.get(name, "")
    if kind is not None and issubclass(kind, enum.Enum):
        words = ", ".join(repr(member.value) for member in list(kind)[:4])
        instead = f"Literal[{words}]" if words else "Literal"
    elif kind is not None and not instead and not kind.__module__.startswith("builtins"):
        instead = "a frozen dataclass (@dataclass(frozen=True))"
    hint = f"; use {instead} instead" if instead else ""
    also = "Path, " if is_option else ""
    return MisuseError(
        f"unsupported type {name}{hint}. {'An option is' if is_option else 'The wire carries'} None, bool, int, float, "
        f"str, bytes, list, tuple, {also}dict[str, ...], Literal, unions, frozen dataclasses, TypedDict and Any"
    )


def _items(value: object, check: Check) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise _mismatch("list", value)
    result: list[Any] = []
    for index, item in enumerate(value):
        try:
            result.append(check(item))
        except Mismatch as error:
            raise error.inside(f"[{index}]", index) from None
    return result


def _list_shape(item: ParameterType) -> ParameterType:
    check = item.check
    schema = {"type": "array", "items": item.schema}
    return ParameterType(lambda value: _items(value, check), f"list[{item.text}]", schema, item.structured)


def _tuple_shape(arguments: Sequence[object], seen: tuple[object, ...]) -> ParameterType:
    if len(arguments) == 2 and arguments[1] is ...:
        same = _list_shape(compile_shape(arguments[0], seen))
        inner = same.check
        return ParameterType(lambda value: tuple(inner(value)), same.text, same.schema, same.structured)
    shapes = [compile_shape(argument, seen) for argument in arguments]

    def check(value: object) -> tuple[Any, ...]:
        plain = _items(value, _check_any)
        if len(plain) != len(shapes):
            raise Mismatch(f"expected {len(shapes)} items, got {len(plain)}")
        found: list[Any] = []
        for index, (shape, item) in enumerate(zip(shapes, plain, strict=True)):
            try:
                found.append(shape.check(item))
            except Mismatch as error:
                raise error.inside(f"[{index}]", index) from None
        return tuple(found)

    members = [shape.schema for shape in shapes]
    schema = {"type": "array", "prefixItems": members, "items": False, "minItems": len(shapes)}
    text = f"tuple[{', '.join(shape.text for shape in shapes)}]"
    return ParameterType(check, text, schema, any(shape.structured for shape in shapes))


def _keyed(value: object, expected: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _mismatch(expected, value)
    for key in value:
        if type(key) is not str:
            raise Mismatch(f"expected keys of type str, got {type_name(key)}")
    return value


def _dict_shape(arguments: Sequence[object], seen: tuple[object, ...]) -> ParameterType:
    if arguments[0] is not str:
        raise MisuseError("only dict[str, ...] is supported: keys on the wire are str")
    item = compile_shape(arguments[1], seen)
    inner = item.check

    def check(value: object) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, member in _keyed(value, "map").items():
            try:
                result[key] = inner(member)
            except Mismatch as error:
                raise error.inside(f"[{shown(key)}]", key) from None
        return result

    schema = {"type": "object", "additionalProperties": item.schema}
    return ParameterType(check, f"dict[str, {item.text}]", schema, item.structured)


def _literal_shape(choices: Sequence[object]) -> ParameterType:
    allowed = {(type(choice), choice) for choice in choices}
    if any(kind not in (str, int, bool, type(None)) for kind, _ in allowed):
        raise MisuseError("Literal may hold str, int, bool and None")
    text = " | ".join("null" if choice is None else repr(choice) for choice in choices)

    def check(value: object) -> object:
        kind = type(value)
        if kind not in (str, int, bool, type(None)) or (kind, value) not in allowed:
            raise Mismatch(f"expected {text}, got {shown(value)}")
        return value

    return ParameterType(check, text, {"enum": list(choices)})


def _union_shape(arguments: Sequence[object], seen: tuple[object, ...]) -> ParameterType:
    shapes = [compile_shape(argument, seen) for argument in arguments]
    text = " | ".join(shape.text for shape in shapes)

    def check(value: object) -> Any:
        best: Mismatch | None = None
        for shape in shapes:
            try:
                return shape.check(value)
            except Mismatch as error:  # the alternative that came furthest knows best what is wrong
                if (error.near or error.path) and (best is None or len(error.path) > len(best.path)):
                    best = error
        raise best or _mismatch(text, value)

    schema = {"anyOf": [shape.schema for shape in shapes]}
    return ParameterType(check, text, schema, any(shape.structured for shape in shapes))


@dataclasses.dataclass(frozen=True)
class _Field:
    shape: ParameterType
    required: bool


def _fields(value: object, fields: Mapping[str, _Field], expected: str) -> dict[str, Any]:
    members = _keyed(value, expected)
    for key in members:
        if key not in fields:
            step = f".{key if key.isidentifier() and len(key) <= 40 else shown(key)}"
            raise Mismatch(f"unknown field{did_you_mean(key, fields)}", step, keys=(key,))
    result: dict[str, Any] = {}
    for name, field in fields.items():
        if name in members:
            try:
                result[name] = field.shape.check(members[name])
            except Mismatch as error:
                raise error.inside(f".{name}", name) from None
        elif field.required:
            raise Mismatch("missing", f".{name}", keys=(name,))
    return result


def _fields_schema(fields: Mapping[str, _Field]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {name: field.shape.schema for name, field in fields.items()},
        "required": [name for name, field in fields.items() if field.required],
        "additionalProperties": False,
    }


def _hints(kind: type) -> dict[str, object]:
    try:
        return get_type_hints(kind, include_extras=True)
    except Exception as error:
        raise MisuseError(f"cannot resolve the annotations of {kind.__name__}: {error}") from None


def _dataclass_shape(kind: Any, seen: tuple[object, ...]) -> ParameterType:
    if not kind.__dataclass_params__.frozen:
        raise MisuseError(f"dataclass {kind.__name__} must be frozen: @dataclass(frozen=True)")
    hints = _hints(kind)
    fields = {
        field.name: _Field(
            compile_shape(hints[field.name], seen),
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
        if field.init
    }

    def check(value: object) -> object:
        members = _fields(value, fields, "map")
        try:
            return kind(**members)
        except (ValueError, TypeError, ArithmeticError, LookupError) as error:  # what __post_init__ refuses
            raise Mismatch(str(error) or f"not a valid {kind.__name__}") from None

    return ParameterType(check, kind.__name__, _fields_schema(fields), structured=True)


def _typed_dict_shape(kind: Any, seen: tuple[object, ...]) -> ParameterType:
    required: frozenset[str] = kind.__required_keys__
    fields: dict[str, _Field] = {}
    for name, hint in _hints(kind).items():
        needed = name in required
        if get_origin(hint) in (Required, NotRequired):  # as a string it escaped __required_keys__
            needed = get_origin(hint) is Required
            hint = get_args(hint)[0]
        fields[name] = _Field(compile_shape(hint, seen), needed)
    structured = any(field.shape.structured for field in fields.values())
    return ParameterType(lambda value: _fields(value, fields, "map"), kind.__name__, _fields_schema(fields), structured)


def _annotated_shape(arguments: Sequence[object], seen: tuple[object, ...]) -> ParameterType:
    shape = compile_shape(arguments[0], seen)
    for extra in arguments[1:]:
        if isinstance(extra, Range):
            if shape.schema.get("type") not in ("integer", "number"):
                raise MisuseError("Range belongs on int or float")
            shape = extra.apply(shape)
        elif isinstance(extra, Length):
            if shape.schema.get("type") not in ("string", "array", "object"):
                raise MisuseError("Length belongs on str, bytes, list or dict")
            shape = extra.apply(shape)
        elif isinstance(extra, Pattern):
            if shape.schema.get("type") != "string" or "contentEncoding" in shape.schema:
                raise MisuseError("Pattern belongs on str")
            shape = extra.apply(shape)
    return shape


def compile_shape(annotation: Any, seen: tuple[object, ...] = ()) -> ParameterType:
    """Return the Shape of an annotation; MisuseError if the wire cannot carry the type.

    `seen` are the annotations around it; OPTION among them says that it is an option's.
    """
    try:
        if annotation in _PLAIN:
            return _PLAIN[annotation]
    except TypeError:  # an unhashable thing is not a type
        raise MisuseError(f"{annotation!r} is not a type") from None
    if type(annotation).__name__ == "TypeAliasType":  # `type X = ...` of Python 3.12
        return compile_shape(annotation.__value__, seen)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated_shape(arguments, seen)
    if origin is Literal:
        return _literal_shape(arguments)
    if origin in (Union, types.UnionType):
        return _union_shape(arguments, seen)
    if annotation is Path and OPTION in seen:
        return _PATH
    if annotation in seen:
        raise MisuseError(f"{annotation.__name__} holds itself: recursive types are not supported")
    inner = (*seen, annotation)
    if annotation is list or origin is list:
        return _list_shape(compile_shape(arguments[0], inner) if arguments else _ANY)
    if annotation is tuple or origin is tuple:
        return _tuple_shape(arguments or (Any, ...), inner)
    if annotation is dict or origin is dict:
        return _dict_shape(arguments or (str, Any), inner)
    if is_typeddict(annotation):
        return _typed_dict_shape(annotation, inner)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _dataclass_shape(annotation, inner)
    raise _unsupported(annotation, is_option=OPTION in seen)
