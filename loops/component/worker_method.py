"""Functions of a worker as data, compiled as handlers are: plain ones, generators for streams, an iterator for parts.

Both sides use it: the worker for the functions that it marks, the component for the Protocol that it gives them.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, get_args, get_origin

from tlsrt.errors import MisuseError
from tlsrt.loops.component.method import ASYNC, MethodSpec, Parameter, parameter_of, resolve, shape_of
from tlsrt.loops.component.types import ParameterType

_SYNC: tuple[object, ...] = (Iterator, Generator, Iterable)
_MISSING = inspect.Parameter.empty


def compile_function(owner: str, name: str, function: Callable[..., Any]) -> MethodSpec:
    """Return the spec of a function of a worker. Raises MisuseError that names module, function and parameter."""
    where = f"{owner}.{name}"
    if not inspect.isfunction(inspect.unwrap(function)):
        raise MisuseError(f"{where}: @worker belongs on a plain function of the module")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise MisuseError(f"{where}: a worker runs one call after the other, so its functions are plain `def`")
    hints = resolve(function, where)
    stream, returns = _returns(hints.get("return", _MISSING), inspect.isgeneratorfunction(function), where)
    parameters: list[Parameter] = []
    parts: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        place = f"{where}, parameter {parameter.name}"
        if parts is not None:
            raise MisuseError(f"{where}, parameter {parts}: an iterator of bytes must be the last parameter")
        annotation = hints.get(parameter.name, _MISSING)
        if get_origin(annotation) in _SYNC or annotation in _SYNC:
            if get_args(annotation)[:1] != (bytes,):
                raise MisuseError(f"{place}: parts are bytes, annotate it as Iterator[bytes]")
            parts = parameter.name
        else:
            parameters.append(parameter_of(parameter, annotation, place))
    doc = inspect.cleandoc(function.__doc__ or "")
    return MethodSpec(name, doc, function, tuple(parameters), returns, stream, False, parts)


def _returns(annotation: object, is_generator: bool, where: str) -> tuple[bool, ParameterType]:
    if annotation is _MISSING:
        raise MisuseError(f"{where}: has no return annotation; write `-> None` if it returns nothing")
    iterates = get_origin(annotation) in _SYNC or annotation in _SYNC
    if is_generator and not iterates:
        raise MisuseError(f"{where}: yields, so it returns Iterator[...]")
    item = get_args(annotation)[:1] if iterates else (annotation,)
    return iterates, shape_of(item[0] if item else Any, f"{where} (return)")


def result_of(kind: type, name: str) -> tuple[bool, ParameterType] | None:
    """Return whether a method of a Protocol is a stream, and the type of its result or items; None for no such method.

    Raises MisuseError for one whose types no worker could send.
    """
    function = getattr(kind, name, None)
    if not inspect.isfunction(function) or name.startswith("_"):
        return None
    where = f"{kind.__name__}.{name}"
    annotation = typing.cast(object, resolve(function, where).get("return", Any))
    if get_origin(annotation) in ASYNC or annotation in ASYNC:
        item = get_args(annotation)[:1]
        return True, shape_of(item[0] if item else Any, f"{where} (return)")
    return False, shape_of(annotation, f"{where} (return)")
