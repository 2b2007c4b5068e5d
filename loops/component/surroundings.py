"""What the runtime gives to a component: attributes that the component cannot take for something else."""

from __future__ import annotations

from typing import Generic, Self, TypeVar, overload

from tlsrt.errors import MisuseError

Given = TypeVar("Given")


class Surrounding(Generic[Given]):
    """An attribute that the runtime gives to a component, which the component cannot take for something else."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Given: ...
    def __get__(self, instance: object | None, owner: type) -> Self | Given:
        if instance is None:
            return self
        try:
            given: Given = vars(instance)[self._name]
        except KeyError:
            raise AttributeError(f"self.{self._name} is not there yet: the runtime gives it before `start`") from None
        return given

    def __set__(self, instance: object, value: object) -> None:
        kind = type(instance).__name__
        raise MisuseError(f"{kind} cannot set self.{self._name}: the name is reserved for the runtime; choose another")
