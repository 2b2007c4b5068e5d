"""What a component offers, as plain data for people and other languages."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Protocol

from tlsrt.loops.component.method import MethodSpec, Parameter
from tlsrt.loops.component.types import to_json


class Described(Protocol):
    """The part of a Component that a description needs (a protocol, because `component` imports this module)."""

    address: str


def _parameter(parameter: Parameter) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": parameter.name,
        "type": parameter.shape.text,
        "schema": parameter.shape.schema,
        "required": parameter.required,
    }
    if not parameter.required:
        entry["default"] = to_json(parameter.default)
    return entry


def describe_method(spec: MethodSpec) -> dict[str, object]:
    """Return one method as JSON-able data; a streaming method's `returns` is one item."""
    return {
        "doc": spec.doc,
        "parameters": [_parameter(parameter) for parameter in spec.parameters],
        "returns": {"type": spec.returns.text, "schema": spec.returns.schema},
        "stream": spec.stream,
        "upload": spec.upload,
        "idempotent": spec.idempotent,
    }


def describe(component: Described, page: str = "", *, with_page: bool = False) -> dict[str, object]:
    """Return address, doc, methods and declared topics of a component as JSON-able data.

    One that has a page has the size of it, in characters, or on request the page.
    """
    kind: Any = type(component)
    methods: Mapping[str, MethodSpec] = kind.__tlsrt_methods__
    result: dict[str, object] = {
        "address": component.address,
        "doc": inspect.cleandoc(kind.__doc__ or ""),
        "methods": {name: describe_method(spec) for name, spec in methods.items()},
    }
    if kind.topics:
        result["topics"] = dict(kind.topics)
    if page:
        result["page"] = page if with_page else len(page)
    return result
