"""Convert words of a command line to arguments of a method, by its description. Pure.

A `str` parameter takes its word as it is, so `put greeting 5` with a str keeps "5". Any other type takes JSON, and a
parameter of any type takes JSON if the word is JSON and else the word. `NAME=VALUE` gives a parameter by name, if the
method has one of that name. For bytes, `@FILE` is what is in a file, and `@@` begins a word with an @.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tlsrt.errors import InvalidArgument
from tlsrt.text import did_you_mean

_OWN_OPTIONS = frozenset({"timeout_s", "idempotent"})  # of `AsyncClient.call`
_OF_PUT_OFF = frozenset({"missed", "jitter", "keep_result"})  # of `AsyncClient.put_off`, beside those
_SIMPLE: Mapping[str, tuple[type, ...]] = {
    "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),), "array": (list,),
    "object": (dict,),
}  # fmt: skip
_NO = object()


def no_file(name: str) -> bytes:
    """Read no file: the reader of a caller who has none."""
    raise InvalidArgument(f"@{name}: there are no files here; write @@ for a word that begins with @")


def check_put_off(kwargs: Mapping[str, Any]) -> None:
    """Raise InvalidArgument for a parameter by name that would be taken for an option of a call that is put off."""
    if taken := kwargs.keys() & _OF_PUT_OFF:
        raise InvalidArgument(f"{min(taken)} can be given by position only when the call is put off")


def arguments_of(
    words: Sequence[str], method: Mapping[str, Any] | None, read_file: Callable[[str], bytes] = no_file
) -> tuple[list[Any], dict[str, Any]]:
    """Return (args, kwargs) for a method; raise InvalidArgument that names the parameter.

    A parameter that takes bytes takes `@FILE` too, by `read_file`, which raises InvalidArgument.
    Without a description every word is JSON if it can be, else itself.
    """
    if method is None:
        return [_anything(word) for word in words], {}
    parameters = {str(parameter["name"]): parameter for parameter in method.get("parameters", ())}
    order = list(parameters)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in parameters:
            if name in kwargs or name in order[: len(args)]:
                raise InvalidArgument(f"{name} is given twice")
            if name in _OWN_OPTIONS:
                raise InvalidArgument(f"{name} can be given by position only")
            kwargs[name] = _convert(value, parameters[name], (), read_file)
        elif len(args) == len(order):
            raise InvalidArgument(
                f"too many arguments: it takes {len(order)}: {signature(method)}{_nearest(word, order)}"
            )
        elif order[len(args)] in kwargs:
            raise InvalidArgument(f"{order[len(args)]} is given twice")
        else:
            args.append(_convert(word, parameters[order[len(args)]], order, read_file))
    for name in order[len(args) :]:
        if parameters[name].get("required") and name not in kwargs:
            raise InvalidArgument(f"{name} is missing: {signature(method)}")
    return args, kwargs


def signature(method: Mapping[str, Any]) -> str:
    """Return the parameters and the result of a method in one line."""
    parameters = [_shown(parameter) for parameter in method.get("parameters", ())]
    if method.get("upload"):
        parameters.append("< data")
    returns = method.get("returns", {}).get("type", "any")
    return f"({', '.join(parameters)}) -> {'stream of ' if method.get('stream') else ''}{returns}"


def _shown(parameter: Mapping[str, Any]) -> str:
    text = f"{parameter['name']}: {parameter.get('type', 'any')}"
    return text if parameter.get("required") else f"{text} = {json.dumps(parameter.get('default'))}"


def _convert(
    word: str, parameter: Mapping[str, Any], names: Sequence[str], read_file: Callable[[str], bytes]
) -> Any:  # fmt: skip
    schema = parameter.get("schema", {})
    if word.startswith("@") and _takes_bytes(schema):
        return word[1:].encode() if word.startswith("@@") else read_file(word[1:])
    value = _fit(word, schema)
    if value is _NO:
        is_nested = schema.get("type") in ("array", "object")
        advice = _nearest(word, names) or ("; write it as JSON" if is_nested else "")
        raise InvalidArgument(f"{parameter['name']}: {word!r} is not of type {parameter.get('type')}{advice}")
    return value


def _nearest(word: str, names: Sequence[str]) -> str:
    """Return `, did you mean X?` for a NAME=VALUE whose name is almost one of `names`, or an empty text."""
    name, equals, _ = word.partition("=")
    return did_you_mean(name, names) if equals else ""


def _fit(word: str, schema: Mapping[str, Any]) -> Any:
    """Return the word as a value of this schema, or _NO. The recipient checks it fully."""
    if "anyOf" in schema:
        return _first_fit(word, schema["anyOf"])
    if "enum" in schema:
        choices = schema["enum"]
        return word if word in choices else _among(_json(word), choices)
    kind = schema.get("type")
    if kind is None:
        return _anything(word)
    if kind == "string":
        return word.encode() if schema.get("contentEncoding") == "base64" else word
    value = _json(word)
    wanted = _SIMPLE.get(kind, (object,))
    return value if isinstance(value, wanted) and (type(value) is not bool or kind == "boolean") else _NO


def _takes_bytes(schema: Mapping[str, Any]) -> bool:
    """Tell whether a word becomes bytes: a parameter that takes text as well takes the word."""
    strings = [one for one in schema.get("anyOf", (schema,)) if one.get("type") == "string"]
    return bool(strings) and all(one.get("contentEncoding") == "base64" for one in strings)


def _first_fit(word: str, schemas: Sequence[Mapping[str, Any]]) -> Any:
    """A string takes everything, so the other alternatives come first."""
    for schema in sorted(schemas, key=lambda schema: schema.get("type") == "string"):
        value = _fit(word, schema)
        if value is not _NO:
            return value
    return _NO


def _among(value: Any, choices: Sequence[Any]) -> Any:
    return value if any(type(value) is type(choice) and value == choice for choice in choices) else _NO


def _json(word: str) -> Any:
    try:
        return json.loads(word, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _NO


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _anything(word: str) -> Any:
    value = _json(word)
    return word if value is _NO else value
