"""What the runtime gives to a component cannot be overwritten or hidden by it, and says so at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from tlsrt.errors import MisuseError
from tlsrt.loops.component.component import Component, attach

NAMES = ("address", "options", "state", "log", "port")


def attached(component: Component, **options: object) -> Component:
    attach(
        component, address="third/x", options=options, state=Path("/state"), log=logging.getLogger("x"),
        port=cast("Any", None),
    )  # fmt: skip
    return component


@pytest.mark.parametrize("name", NAMES)
def test_setting_one_is_refused_where_it_is_set(name: str) -> None:
    class Mqtt(Component):
        def __init__(self) -> None:
            setattr(self, name, 1883)

    with pytest.raises(
        MisuseError, match=rf"Mqtt cannot set self.{name}: the name is reserved for the runtime; choose an"
    ):
        Mqtt()
    component = attached(Component())
    with pytest.raises(MisuseError, match=f"cannot set self.{name}"):
        setattr(component, name, 1883)


@pytest.mark.parametrize("name", [*NAMES, "caller", "_pubsub"])
def test_a_class_that_hides_one_is_refused_when_it_is_made(name: str) -> None:
    with pytest.raises(MisuseError, match=rf"Mqtt.{name}: the name is reserved for the runtime"):
        type("Mqtt", (Component,), {name: 1883})
    mixin = type("Mixin", (), {name: lambda self: None})
    with pytest.raises(MisuseError, match=rf"Mqtt.{name}: the name is reserved for the runtime"):
        type("Mqtt", (mixin, Component), {})


def test_they_are_there_from_the_start_on_and_before_it_a_sentence_is() -> None:
    component = Component()
    with pytest.raises(AttributeError, match=r"self.options is not there yet: the runtime gives it before `start`"):
        _ = component.options
    attached(component, size=1)
    assert component.options == {"size": 1} and component.address == "third/x" and component.state == Path("/state")


@pytest.mark.parametrize(
    "name", ["call", "stream", "upload", "exchange", "publish", "subscribe", "spawn", "set_status", "caller", "_pubsub"]
)
def test_what_the_runtime_calls_its_own_cannot_be_set_or_hidden_by_what_lies_in_the_object(name: str) -> None:
    class Mqtt(Component): ...

    component = attached(Mqtt())
    real = getattr(component, name)
    with pytest.raises(MisuseError, match=f"Mqtt cannot set self.{name}: the name is reserved for the runtime"):
        setattr(component, name, 1883)
    with pytest.raises(MisuseError, match=f"Mqtt cannot set self.{name}"):
        delattr(component, name)
    vars(component)[name] = 1883
    assert getattr(component, name) == real
    with pytest.raises(MisuseError, match=f"Mqtt.{name}: the name is reserved for the runtime"):
        type("Mqtt", (Component,), {name: lambda self: None})


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_in_the_object_hides_nothing_that_was_given(name: str) -> None:
    component = attached(Component())
    given = getattr(component, name)
    vars(component).update({name: 1883})
    assert getattr(component, name) is given


@pytest.mark.parametrize("name", ["start", "stop", "healthy", "ready"])
def test_what_the_runtime_calls_is_a_method_and_stays_one(name: str) -> None:
    class Good(Component):
        async def start(self) -> None: ...
        async def stop(self) -> None: ...
        def healthy(self) -> None: ...
        def ready(self) -> bool:
            return True

    for component in (Component(), Good()):
        with pytest.raises(MisuseError, match=f"cannot set self.{name}"):
            setattr(component, name, 5)
    with pytest.raises(MisuseError, match=f"Wrong.{name}: the runtime calls it, so it must be a method"):
        type("Wrong", (Component,), {name: 5})


@pytest.mark.parametrize("name", ["start", "stop"])
def test_a_start_that_is_no_coroutine_is_refused_when_the_class_is_made(name: str) -> None:
    with pytest.raises(MisuseError, match=rf"Wrong.{name} must be `async def {name}\(self\) -> None`"):
        type("Wrong", (Component,), {name: lambda self: None})


@pytest.mark.parametrize("name", [*NAMES, "call"])
def test_an_annotation_slots_and_a_class_behind_count_too(name: str) -> None:
    with pytest.raises(MisuseError, match=f"Mqtt.{name}: the name is reserved for the runtime"):
        type("Mqtt", (Component,), {"__annotations__": {name: int}})
    with pytest.raises(MisuseError, match=f"Mqtt.{name}: the name is reserved for the runtime"):
        type("Mqtt", (Component,), {"__slots__": (name,)})
    for mixin in (type("Mixin", (), {name: 1}), type("Mixin", (), {"__annotations__": {name: int}})):
        for bases in ((mixin, Component), (Component, mixin)):
            with pytest.raises(MisuseError, match=f"Mqtt.{name}: the name is reserved .* Mixin has it too, "):
                type("Mqtt", bases, {})
    heir = type("Deep", (type("Mixin", (), {name: 1}),), {})
    with pytest.raises(MisuseError, match=f"Mqtt.{name}: .* Mixin has it too"):
        type("Mqtt", (Component, heir), {})


def test_names_of_ones_own_are_free() -> None:
    class Free(Component):
        topics: ClassVar[Mapping[str, str]] = {"changed": "what changes"}
        value: int = 1
        _private = 2

        def __init__(self) -> None:
            self.value, self._other, self.disk_threads = 3, 4, ()

    assert attached(Free()).address == "third/x"
