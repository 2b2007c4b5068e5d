"""JSON in, values of a call out, and back. Pure.

JSON has no bytes: where a method takes or gives bytes, its description says base64, and so it travels. It has no NaN
and no infinity either: in results they become null, in arguments they are refused, also as a number too large for a
float. Depth and number of lists and maps are bounded as in a body of msgpack, and before anything is built: without
its strings, JSON shows them by its brackets.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tlsrt.channels.frames.structure import CONTAINERS_MAX, DEPTH_MAX
from tlsrt.errors import InvalidArgument
from tlsrt.output import plain

INTEGER_MAX = 1 << 63
Matters = Callable[[object], bool]  # whether a value of a schema has to be looked at
ARGUMENTS_DEPTH = DEPTH_MAX - 1  # a request holds them in an array
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
# Also one without an end, so that a quote never fails and nothing is looked at twice.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_EXPONENT = re.compile(rb"[eE]\+?\d{3}")
_INTEGRAL = re.compile(rb"\d(?:\.0+(?![0-9])|[eE])")  # a number such as 200.0 or 2e2 may be in it
_AS_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_MANY_DIGITS = b"0" * 200  # with an exponent below 100 no fewer pass the largest float, 1.8e308


def arguments_untrusted(body: bytes, method: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return (args, kwargs) from a body: an object gives arguments by name, an array by position, nothing gives none.

    `method` is the method's description. Raises InvalidArgument; the recipient checks the types once more.
    """
    given = _load_untrusted(body) if body.strip() else {}
    matters = _has_bytes_or_integers if _INTEGRAL.search(body) else _has_bytes
    parameters = {str(parameter["name"]): parameter for parameter in method.get("parameters", ())}
    if isinstance(given, dict):
        for name in given:
            if name not in parameters:
                known = ", ".join(parameters) or "none"
                raise InvalidArgument(f"there is no parameter {name[:80]!r}; the method has: {known}")
        return [], {
            name: _decoded(value, parameters[name].get("schema", {}), name, matters) for name, value in given.items()
        }
    if isinstance(given, list):
        if len(given) > len(parameters):
            raise InvalidArgument(f"too many arguments: the method takes {len(parameters)}")
        pairs = zip(given, parameters.items(), strict=False)
        return [_decoded(value, parameter.get("schema", {}), name, matters) for value, (name, parameter) in pairs], {}
    raise InvalidArgument("the body must be a JSON object (arguments by name) or array (by position)")


def encode_value(value: object) -> bytes:
    """Return a result as JSON."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _load_untrusted(body: bytes) -> Any:
    _check_structure(body)
    is_large = _EXPONENT.search(body) or _MANY_DIGITS in body.translate(_AS_DIGITS)
    try:
        return json.loads(
            body.decode("utf-8"), parse_float=_finite if is_large else None, parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )  # fmt: skip
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are some
        raise InvalidArgument(f"the body is not JSON: {error}") from None


def _check_structure(body: bytes) -> None:
    """Raise InvalidArgument for JSON that is nested too deeply, or in too many parts. Nothing is built."""
    brackets = body.translate(_AS_ARRAYS, _NO_BRACKETS)
    if len(brackets) <= ARGUMENTS_DEPTH:
        return
    brackets = _STRING.sub(b"", body).translate(_AS_ARRAYS, _NO_BRACKETS)
    if brackets.count(b"[") > CONTAINERS_MAX:
        raise InvalidArgument(f"the body holds more than {CONTAINERS_MAX} arrays and objects")
    for _ in range(ARGUMENTS_DEPTH):
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"")  # the innermost of what is left
        if len(brackets) == before:
            break
    if b"[]" in brackets or brackets.count(b"[") > ARGUMENTS_DEPTH:  # some may have no end, and are as deep to read
        raise InvalidArgument(f"the body is nested more than {ARGUMENTS_DEPTH} deep")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large for a number")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return made


def _decoded(value: Any, schema: Mapping[str, Any], where: str, matters: Matters, depth: int = 0) -> Any:
    """Return the value with its base64 texts decoded, as far as the schema says where they are.

    A number without a fraction is an integer where the schema wants one, also as 200.0 (JSON Schema, 6.1.1).
    """
    if depth > ARGUMENTS_DEPTH:
        raise InvalidArgument(f"{where}: nested too deeply")
    if not matters(schema):
        return value  # looking at every part of it would be most of the work
    if "anyOf" in schema:
        return _one_of(value, schema["anyOf"], where, matters, depth)
    if schema.get("contentEncoding") == "base64":
        return _bytes(value, where)
    if type(value) is float:
        return int(value) if schema.get("type") == "integer" and _is_integral(value) else value
    if isinstance(value, list):
        fixed: Sequence[Mapping[str, Any]] = schema.get("prefixItems", ())
        rest = schema.get("items", {}) if isinstance(schema.get("items", {}), Mapping) else {}
        shapes = [*fixed, *[rest] * len(value)]
        return [_decoded(item, shapes[at], f"{where}[{at}]", matters, depth + 1) for at, item in enumerate(value)]
    if isinstance(value, dict):
        named = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        rest = others if isinstance(others, Mapping) else {}
        return {
            key: _decoded(item, named.get(key, rest), f"{where}.{key[:40]}", matters, depth + 1)
            for key, item in value.items()
        }
    return value


def _has_bytes(schema: object) -> bool:
    """Tell whether a schema says of any part that it is bytes."""
    if isinstance(schema, Mapping):
        return schema.get("contentEncoding") == "base64" or any(_has_bytes(part) for part in schema.values())
    return isinstance(schema, (list, tuple)) and any(_has_bytes(part) for part in schema)


def _has_bytes_or_integers(schema: object) -> bool:
    """Tell whether a schema says of any part that it is bytes or an integer."""
    if isinstance(schema, Mapping):
        is_one = schema.get("contentEncoding") == "base64" or schema.get("type") == "integer"
        return is_one or any(_has_bytes_or_integers(part) for part in schema.values())
    return isinstance(schema, (list, tuple)) and any(_has_bytes_or_integers(part) for part in schema)


def _is_integral(value: float) -> bool:
    return value.is_integer() and abs(value) < INTEGER_MAX


def _one_of(value: Any, schemas: Sequence[Mapping[str, Any]], where: str, matters: Matters, depth: int) -> Any:
    """A text is bytes only if no alternative takes a text as it is, and a number an integer if none takes numbers."""
    if type(value) is float:
        kinds = {schema.get("type") for schema in schemas}
        return int(value) if "integer" in kinds and "number" not in kinds and _is_integral(value) else value
    is_text = isinstance(value, str)
    for schema in schemas:
        plain = schema.get("contentEncoding") is None
        if is_text and plain and (schema.get("type") in ("string", None) or value in schema.get("enum", ())):
            return value
    for schema in schemas:
        if is_text == (schema.get("contentEncoding") == "base64"):
            kind = {"array": list, "object": dict}.get(str(schema.get("type")))
            if is_text or kind is None or isinstance(value, kind):
                return _decoded(value, schema, where, matters, depth)
    return value


def _bytes(value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidArgument(f"{where}: expected base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"{where}: not base64") from None
