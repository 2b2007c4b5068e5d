"""One handler method as data: parameters, result, and how arguments are bound.

The spec is compiled once, when the component's class is made, so wrong use shows at import and a call costs one pass
over its parameters. Binding raises InvalidArgument and nothing else, whatever the wire brings.
"""

from __future__ import annotations

import difflib
import dis
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import call
from typing import Any, get_args, get_origin, get_type_hints

from tlsrt.errors import InvalidArgument, MisuseError
from tlsrt.loops.component.types import Check, Mismatch, ParameterType, shown
from tlsrt.loops.component.validate import compile_shape

MARK = "__tlsrt_handler__"  # set by @handler on a function: whether it is idempotent
ASYNC: tuple[object, ...] = (AsyncIterator, AsyncGenerator, AsyncIterable)
_SUSPENDING = frozenset({"SEND", "GET_AWAITABLE", "GET_ANEXT", "BEFORE_ASYNC_WITH", "YIELD_FROM"})
_MISSING = inspect.Parameter.empty


@dataclass(frozen=True)
class Parameter:
    """One parameter of a handler; `default` counts only where `required` is false."""

    name: str
    shape: ParameterType
    required: bool
    default: object
    keyword_only: bool = False


@dataclass(frozen=True)
class MethodSpec:
    """One handler. An upload method takes a stream of bytes as its last parameter, named `upload_name`."""

    name: str
    doc: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    returns: ParameterType
    stream: bool
    idempotent: bool
    upload_name: str | None = None
    immediate: bool = False  # its body awaits nothing, so it can run without a task of its own

    # What checks each argument; None if some can only be given by name.
    checks: tuple[Check, ...] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = any(parameter.keyword_only for parameter in self.parameters)
        checks = None if by_name else tuple(parameter.shape.check for parameter in self.parameters)
        object.__setattr__(self, "checks", checks)

    @property
    def upload(self) -> bool:
        return self.upload_name is not None

    def bind(self, args: Sequence[object], kwargs: Mapping[Any, object]) -> dict[str, Any]:
        """Return checked arguments by parameter name; InvalidArgument names the parameter that is wrong."""
        if not kwargs and self.checks is not None and len(args) == len(self.checks):  # every parameter, by position
            return dict(zip([parameter.name for parameter in self.parameters], self.checked(args), strict=True))
        bound: dict[str, Any] = {}
        given = _by_name(self, args, kwargs)
        for parameter in self.parameters:
            name = parameter.name
            if name in given:
                try:
                    bound[name] = parameter.shape.check(given[name])
                except Mismatch as error:
                    raise InvalidArgument(f"{name}{error.path}: {error.reason}") from None
            elif parameter.required:
                raise InvalidArgument(f"missing parameter: {name}")
            else:
                bound[name] = _fresh(parameter.default)
        return bound

    def checked(self, args: Sequence[object]) -> tuple[Any, ...]:
        """Return checked arguments that are as many as `checks`; raise the same error as `bind`."""
        try:
            return tuple(map(call, self.checks or (), args))
        except Mismatch:
            for parameter, value in zip(self.parameters, args, strict=True):
                try:
                    parameter.shape.check(value)
                except Mismatch as error:
                    raise InvalidArgument(f"{parameter.name}{error.path}: {error.reason}") from None
            raise


def _fresh(default: object) -> object:
    """A default list or map is copied, so that one call cannot change it for the next."""
    return default.copy() if isinstance(default, (list, dict)) else default


def nearest(word: object, known: Sequence[str]) -> str | None:
    """Return the known name that is closest to `word`, if one is close."""
    if not isinstance(word, str) or len(word) > 64:
        return None
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None


def _by_name(spec: MethodSpec, args: Sequence[object], kwargs: Mapping[Any, object]) -> dict[str, object]:
    positional = [parameter.name for parameter in spec.parameters if not parameter.keyword_only]
    if len(args) > len(positional):
        raise InvalidArgument(f"too many arguments: takes {len(positional)}, got {len(args)}")
    given = dict(zip(positional, args, strict=False))
    names = [parameter.name for parameter in spec.parameters]
    for name, value in kwargs.items():
        if name not in names:
            guess = nearest(name, names)
            raise InvalidArgument(
                f"unknown parameter: {name if isinstance(name, str) and name.isidentifier() else shown(name)}"
                + (f" (did you mean {guess}?)" if guess else "")
            )
        if name in given:
            raise InvalidArgument(f"{name}: given twice, by position and by name")
        given[name] = value
    return given


def resolve(function: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:
        raise MisuseError(
            f"{where}: cannot resolve its annotations at run time: {error}; import what they name outside of "
            "`if TYPE_CHECKING:`"
        ) from None


def shape_of(annotation: object, where: str) -> ParameterType:
    try:
        return compile_shape(annotation)
    except MisuseError as error:
        raise MisuseError(f"{where}: {error}") from None


def _is_upload(annotation: object, where: str) -> bool:
    if get_origin(annotation) not in ASYNC and annotation not in ASYNC:
        return False
    if get_args(annotation)[:1] != (bytes,):
        raise MisuseError(f"{where}: an upload is a stream of bytes, annotate it as AsyncIterator[bytes]")
    return True


def parameter_of(parameter: inspect.Parameter, annotation: object, where: str) -> Parameter:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise MisuseError(f"{where}: *args and **kwargs are not supported, a handler names its parameters")
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise MisuseError(f"{where}: positional-only parameters are not supported")
    if annotation is _MISSING:
        raise MisuseError(f"{where}: has no annotation; write `{parameter.name}: int`, or Any for anything")
    shape = shape_of(annotation, where)
    required = parameter.default is _MISSING
    if not required and not (shape.structured or _fits(shape, parameter.default)):
        hint = f"; write `{parameter.name}: {shape.text} | None = None`" if parameter.default is None else ""
        raise MisuseError(f"{where}: its default is not of type {shape.text}{hint}")
    keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    return Parameter(parameter.name, shape, required, None if required else parameter.default, keyword_only)


def _fits(shape: ParameterType, value: object) -> bool:
    try:
        shape.check(value)
    except Mismatch:
        return False
    return True


def _returns(function: Callable[..., Any], annotation: object, where: str) -> tuple[bool, ParameterType]:
    """Whether it streams, and the shape of its result or of one item."""
    if annotation is _MISSING:
        raise MisuseError(f"{where}: has no return annotation; write `-> None` if it returns nothing")
    iterates = get_origin(annotation) in ASYNC or annotation in ASYNC
    if inspect.isasyncgenfunction(function):
        if not iterates:
            raise MisuseError(f"{where}: yields, so it returns AsyncIterator[...]")
        item = get_args(annotation)[:1]
        return True, shape_of(item[0] if item else Any, f"{where} (return)")
    if not inspect.iscoroutinefunction(function):
        is_wrapped = inspect.iscoroutinefunction(inspect.unwrap(function))
        hint = ", and so must be what its decorator makes of it" if is_wrapped else ""
        raise MisuseError(f"{where}: a handler must be `async def`{hint}")
    if iterates:
        raise MisuseError(f"{where}: returns an AsyncIterator, so it must yield its items")
    return False, shape_of(annotation, f"{where} (return)")


def compile_method(owner: str, name: str, function: Callable[..., Any], *, idempotent: bool) -> MethodSpec:
    """Return the spec of one handler; MisuseError names class, method and parameter."""
    where = f"{owner}.{name}"
    if not callable(function) or isinstance(function, (staticmethod, classmethod)):
        raise MisuseError(f"{where}: a handler is a plain method")
    hints = resolve(function, where)
    stream, returns = _returns(function, hints.get("return", _MISSING), where)
    parameters: list[Parameter] = []
    upload: str | None = None
    names = list(inspect.signature(function).parameters.values())
    if not names or (names[0].name != "self" and names[0].annotation is not _MISSING):
        raise MisuseError(f"{where}: the first parameter of a handler is self")
    for parameter in names[1:]:
        place = f"{where}, parameter {parameter.name}"
        if upload is not None:
            raise MisuseError(f"{where}, parameter {upload}: an upload must be the last parameter, and there is one")
        annotation = hints.get(parameter.name, _MISSING)
        if _is_upload(annotation, place):
            upload = parameter.name
        else:
            parameters.append(parameter_of(parameter, annotation, place))
    doc = inspect.cleandoc(function.__doc__ or "")
    immediate = not stream and upload is None and not _awaits(function)
    return MethodSpec(name, doc, function, tuple(parameters), returns, stream, idempotent, upload, immediate)


def _awaits(function: Callable[..., Any]) -> bool:
    """Whether the body of a coroutine function can suspend: it has an await, an async for or an async with."""
    if getattr(function, "__wrapped__", None) is not None:
        return True  # a decorator's body is not the handler's
    return any(instruction.opname in _SUSPENDING for instruction in dis.get_instructions(function))


def required_parameters(function: Callable[..., Any]) -> list[str]:
    """Return the parameters of a method that have no default, without self."""
    taken = list(inspect.signature(function).parameters.values())[1:]
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in taken if one.default is _MISSING and one.kind not in variable]
