"""Handlers of a component's class, found and compiled when the class is made."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tlsrt.errors import MisuseError
from tlsrt.loops.component.method import MARK, MethodSpec, compile_method


def collect_handlers(cls: type, taken: Collection[str]) -> Mapping[str, MethodSpec]:
    """Compile the handlers of a class and join them with those it inherits; none has a name that is taken."""
    methods: dict[str, MethodSpec] = {}
    for base in reversed(cls.__mro__[1:]):
        methods.update(base.__dict__.get("__tlsrt_methods__", {}))
    for name, value in vars(cls).items():
        inner = value.fget if isinstance(value, property) else getattr(value, "__func__", None)
        idempotent = getattr(value, MARK, getattr(inner, MARK, None))
        if inner is not None and idempotent is not None:
            raise MisuseError(f"{cls.__name__}.{name}: @handler belongs on a plain method, and on the outside")
        if idempotent is None:
            if name in methods:
                raise MisuseError(f"{cls.__name__}.{name} overrides a handler: mark it with @handler too")
            continue
        if name in taken:
            raise MisuseError(f"{cls.__name__}.{name}: the name is reserved for the runtime; choose another")
        if name.startswith("_"):
            raise MisuseError(f"{cls.__name__}.{name}: a handler's name does not start with an underscore")
        methods[name] = compile_method(cls.__name__, name, value, idempotent=idempotent)
    return methods
