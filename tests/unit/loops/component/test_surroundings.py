"""What the runtime gives to a component cannot be overwritten or hidden by it, and says so at once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import pytest

from tlsrt.errors import ConfigError, MisuseError
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


def test_options_are_compared_with_those_that_the_class_declares() -> None:
    class Camera(Component):
        option_names = ("thumb", "size")

    attached(Camera(), thumb=1)
    with pytest.raises(ConfigError, match="third/x: unknown option tumb, did you mean thumb"):
        attached(Camera(), tumb=1)
    with pytest.raises(MisuseError, match=r"Odd.option_names must be a tuple of names"):
        type("Odd", (Component,), {"option_names": "thumb"})
