"""`class Options` of a component: compiled when the class is made, and every wrong value is one sentence."""

from __future__ import annotations

import logging
import re
from dataclasses import FrozenInstanceError, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, assert_type, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import ConfigError, MisuseError
from tlsrt.loops.component.component import Component, attach, read_options
from tlsrt.loops.component.types import Length, Range


@dataclass(frozen=True)
class Room:
    name: Annotated[str, Length(20)]
    warm: bool = False


class Kettle(Component):
    class Options:
        watts: Annotated[int, Range(1, 3000), "Power at full heat."] = 2000
        mode: Literal["boil", "keep"] = "boil"
        rooms: tuple[Room, ...] = ()
        limits: dict[str, float] = field(default_factory=dict)
        log_to: Path | None = None

    def power(self) -> int:
        return assert_type(self.options, Kettle.Options).watts


class Broker(Component):
    @dataclass(frozen=True)
    class Options:
        host: Annotated[str, "Where the broker is."]
        port: int = 1883

        def __post_init__(self) -> None:
            if self.host == "localhost" and self.port == 1:
                raise ValueError("no broker is there\nnever")


def place(where: tuple[str, ...]) -> str:
    return f"/etc/tlsrt.yaml:{'.'.join(('options', *where))}"


def refused(kind: type[Component], **options: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_options(kind, "third/kettle", options, place)
    return list(caught.value.problems)


def test_options_are_an_object_of_the_class() -> None:
    kettle = Kettle()
    attach(
        kettle, address="third/kettle", state=Path("/state"), log=logging.getLogger("x"), port=cast("Any", None),
        options={"watts": 5, "rooms": [{"name": "bath"}], "limits": {"top": 3}, "log_to": "/var/log/kettle"},
    )  # fmt: skip
    assert kettle.power() == 5 and kettle.options.mode == "boil" and kettle.options.rooms == (Room("bath"),)
    assert kettle.options.limits == {"top": 3.0} and kettle.options.log_to == Path("/var/log/kettle")
    with pytest.raises(FrozenInstanceError):
        kettle.options.watts = 6


def test_a_class_without_options_gets_the_mapping() -> None:
    assert read_options(Component, "third/x", {"any": [1]}) == {"any": [1]}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"wats": 1}, "options.wats: third/kettle: unknown option wats, did you mean watts?"),
        ({"x": 1}, "options.x: third/kettle: unknown option x: it has watts, mode, rooms, limits, log_to"),
        ({"watts": "9"}, "options.watts: third/kettle: option watts: expected int, got str"),
        ({"watts": True}, "options.watts: third/kettle: option watts: expected int, got bool"),
        ({"watts": 0}, "options.watts: third/kettle: option watts: expected a number in 1..3000"),
        ({"mode": "off"}, "options.mode: third/kettle: option mode: expected 'boil' | 'keep', got 'off'"),
        ({"rooms": [{"name": "a"}, {"nam": "b"}]},
         "options.rooms.1.nam: third/kettle: option rooms[1].nam: unknown field, did you mean name?"),
        ({"rooms": [{}]}, "options.rooms.0.name: third/kettle: option rooms[0].name: missing"),
        ({"limits": {"a": 1, "b": "x"}}, "options.limits.b: third/kettle: option limits['b']: expected float, got str"),
        ({"log_to": "here"}, "options.log_to: third/kettle: option log_to: expected an absolute path, got 'here'"),
    ],
)  # fmt: skip
def test_a_wrong_one_is_one_sentence_with_its_place(options: dict[str, object], sentence: str) -> None:
    assert refused(Kettle, **options) == [f"/etc/tlsrt.yaml:{sentence}"]


def test_all_that_is_wrong_is_said() -> None:
    assert len(refused(Kettle, watts="1", mode=2, wat=3)) == 3


def test_a_missing_one_is_said_with_its_documentation() -> None:
    assert refused(Broker) == [
        "/etc/tlsrt.yaml:options: third/kettle: option host is missing: str (Where the broker is.)"
    ]


def test_what_the_class_itself_refuses_is_one_line() -> None:
    (said,) = refused(Broker, host="localhost", port=1)
    assert said == "/etc/tlsrt.yaml:options: third/kettle: options: no broker is there; never"


class Exotic:
    def __init__(self) -> None: ...


def made(**fields: tuple[object, object]) -> type:
    values = {name: default for name, (_, default) in fields.items() if default is not ...}
    return type("Options", (), {**values, "__annotations__": {name: kind for name, (kind, _) in fields.items()}})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (5, "Bad.Options must be a class with an annotation for each option"),
        (made(at=(datetime, ...)), "Bad.Options.at: unsupported type datetime; use a float of seconds since 1970, or"),
        (made(many=(set, ...)), "Bad.Options.many: unsupported type set; use list instead"),
        (made(odd=(Exotic, ...)), "Bad.Options.odd: unsupported type Exotic; use a frozen dataclass"),
        (made(watts=(int, "much")), "Bad.Options.watts: its default does not fit int: expected int, got str"),
        (
            made(watts=(Annotated[int, Range(1)], 0)),
            "Bad.Options.watts: its default does not fit int in 1..: expected a",
        ),
        (made(names=(list[str], [])), "Bad.Options: mutable default .* use default_factory; or a tuple"),
        (made(_hidden=(int, 1)), "Bad.Options._hidden: an option's name does not start with an underscore"),
        (made(odd=("Missing", 1)), "Bad.Options: cannot resolve its annotations at run time: name 'Missing'"),
        (type("Options", (), {"watts": 2000}), "Bad.Options.watts has no type, so it is no option: write `watts: int`"),
        (dataclass(made(watts=(int, 1))), "Bad.Options must be frozen"),
    ],
)
def test_a_class_that_cannot_be_options_is_refused_when_the_component_is_made(options: object, sentence: str) -> None:
    with pytest.raises(MisuseError, match="^" + re.escape(sentence).replace(re.escape(".*"), ".*")):
        type("Bad", (Component,), {"Options": options})


def test_options_are_inherited_and_extended() -> None:
    class Urn(Kettle):
        class Options(Kettle.Options):
            litres: float = 1

    assert read_options(Urn, "third/urn", {"watts": 1, "litres": 2}).litres == 2.0
    assert read_options(type("Same", (Kettle,), {}), "third/same", {"watts": 7}).watts == 7


def test_an_option_may_name_a_class_in_the_body_of_the_component() -> None:
    class Nested(Component):
        @dataclass(frozen=True)
        class Point:
            x: int

        class Options:
            point: Point | None = None  # type: ignore[name-defined]  # noqa: F821

    assert read_options(Nested, "third/x", {"point": {"x": 1}}).point == Nested.Point(1)


def test_what_is_known_of_each_option_is_there_to_be_shown() -> None:
    spec = Kettle.__tlsrt_options__
    assert spec is not None
    watts = spec.options["watts"]
    assert (watts.doc, watts.default, watts.required) == ("Power at full heat.", 2000, False)
    assert watts.shape.text == "int in 1..3000" and watts.shape.schema["maximum"] == 3000
    assert spec.options["rooms"].default == [] and spec.options["log_to"].default is None


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["watts", "mode", "rooms", "limits", "log_to", "other"]) | st.text(), plain))
def test_any_values_fit_or_are_refused_in_printable_lines(options: dict[str, object]) -> None:
    try:
        read = read_options(Kettle, "third/kettle", options)
    except ConfigError as error:
        problems = error.problems
    else:
        problems = ()
        assert isinstance(read, Kettle.Options)
    assert all(problem.isprintable() and len(problem) < 700 for problem in problems)


def test_values_are_never_run(tmp_path: Path) -> None:
    """What YAML, formats, annotations and shells would run stays text."""
    mark = tmp_path / "ran"
    texts = [
        f"__import__('pathlib').Path('{mark}').touch()", f"!!python/object/apply:os.system ['touch {mark}']",
        "{self.__class__}", "%(x)s", f"$(touch {mark})", f"`touch {mark}`", "int", "Kettle.power", "${HOME}", "~/x",
    ]  # fmt: skip
    for text in texts:
        assert read_options(Broker, "third/broker", {"host": text}).host == text
        refused(Kettle, **{text: text, "watts": text, "mode": text, "rooms": text, "log_to": text})
        assert read_options(Kettle, "third/kettle", {"log_to": f"/{text}"}).log_to == Path(f"/{text}")
    assert not mark.exists()
