"""What the runtime gives to a component, under names that nothing else may have.

A class that has something of its own under one of them is refused when it is made, and an assignment when it happens.
What is given lies in the instance under a key that is no name, and each name is a data descriptor of the class, so
what gets into `vars(self)` by another way (`vars(self).update(...)`) changes nothing.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar, overload

from tlsrt.errors import MisuseError
from tlsrt.loops.component.method import required_parameters

Given = TypeVar("Given")
Typed = TypeVar("Typed", covariant=True)


def _refuse(instance: object, name: str) -> NoReturn:
    kind = type(instance).__name__
    raise MisuseError(f"{kind} cannot set self.{name}: the name is reserved for the runtime; choose another")


class _Reserved:
    """A data descriptor that cannot be set."""

    _name = ""
    _key = ""  # in the instance

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._key = _key(name)

    def __set__(self, instance: object, value: object) -> None:
        _refuse(instance, self._name)

    def __delete__(self, instance: object) -> None:
        _refuse(instance, self._name)

    def _missing(self) -> AttributeError:
        return AttributeError(f"self.{self._name} is not there yet: the runtime gives it before `start`")


class Surrounding(_Reserved, Generic[Given]):
    """An attribute that the runtime gives to a component, which the component cannot take for something else."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Given: ...
    def __get__(self, instance: object | None, owner: type) -> Self | Given:
        if instance is None:
            return self
        try:
            given: Given = instance.__dict__[self._key]
        except KeyError:
            raise self._missing() from None
        return given


class HasOptions(Protocol[Typed]):
    """A component whose class has a class `Options`."""

    @property
    def Options(self) -> type[Typed]: ...


class OptionsSurrounding(_Reserved):
    """`self.options`: an object of the class `Options` in the component's class, else the mapping of the YAML.

    Type checkers see that too: nothing has to be declared besides the class.
    """

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: HasOptions[Typed], owner: type) -> Typed: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Mapping[str, object]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        try:
            return instance.__dict__[self._key]
        except KeyError:
            raise self._missing() from None


class _Method(_Reserved):
    """A method of the runtime: the function on the class, bound on an instance, whatever lies in the instance."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object | None, owner: type) -> Any:
        return self._function if instance is None else types.MethodType(self._function, instance)


class _Property(property):
    """A property of the runtime; it is read as quickly as any other."""

    def __set__(self, instance: object, value: object) -> None:
        _refuse(instance, self.__name)

    def __delete__(self, instance: object) -> None:
        _refuse(instance, self.__name)

    def __set_name__(self, owner: type, name: str) -> None:
        self.__name = name


def give(instance: object, **surroundings: object) -> None:
    """Give a component its surroundings."""
    vars(instance).update({_key(name): value for name, value in surroundings.items()})


def _key(name: str) -> str:
    return f"tlsrt.{name}"  # no identifier, so no attribute is meant by it


def reserve(cls: type, theirs: Collection[str]) -> frozenset[str]:
    """Make all names of the base class reserved, but those that a subclass may have; return them.

    No instance hides a method of either kind.
    """
    names = {*vars(cls), *inspect.get_annotations(cls)} - {*theirs}
    reserved = frozenset(name for name in names if not (name.startswith("__") and name.endswith("__")))
    for name in {*reserved, *theirs}:
        protect(cls, name)
    return reserved


def protect(cls: type, name: str) -> None:
    """Have a function or property of a class be one that no instance can hide."""
    value = vars(cls).get(name)
    made: _Reserved | _Property | None = None
    if isinstance(value, types.FunctionType):
        made = _Method(value)
    elif isinstance(value, property) and value.fget is not None:
        made = _Property(value.fget)
    if made is not None:
        made.__set_name__(cls, name)
        setattr(cls, name, made)


def refuse_shadows(cls: type, base: type, reserved: Iterable[str]) -> None:
    """Refuse a class with something of its own under a name of the runtime, also from a class beside `base`.

    An annotation counts, as it says that there will be something.
    """
    known = frozenset(reserved)
    for each in cls.__mro__:
        if issubclass(base, each):
            continue  # the base itself, and what it stands on
        for name in sorted(known & {*vars(each), *inspect.get_annotations(each)}):
            advice = "`class Options` gives it its type" if name == "options" else "choose another"
            origin = f"{each.__name__} has it too, " if each is not cls else ""
            raise MisuseError(f"{cls.__name__}.{name}: the name is reserved for the runtime; {origin}{advice}")


def check_life(cls: Any, names: Iterable[str]) -> None:
    """Refuse what the runtime calls or reads and could not, and have no instance hide it."""
    for name in names:
        function = getattr(cls, name)
        if name in vars(cls) and not inspect.isroutine(function):
            raise MisuseError(f"{cls.__name__}.{name}: the runtime calls it, so it must be a method")
        if name in ("start", "stop") and not inspect.iscoroutinefunction(function):
            raise MisuseError(f"{cls.__name__}.{name} must be `async def {name}(self) -> None`")
        if name in vars(cls) and (more := required_parameters(function)):
            raise MisuseError(f"{cls.__name__}.{name} takes {', '.join(more)}, but the runtime calls it with nothing")
        if name == "warm_up" and inspect.iscoroutinefunction(function):
            raise MisuseError(f"{cls.__name__}.warm_up must be `def warm_up(self) -> None`: no event loop runs yet")
        protect(cls, name)
    if not isinstance(cls.topics, Mapping):
        raise MisuseError(f"{cls.__name__}.topics must be a dict, such as {{'changed': 'what has changed'}}")
