"""Options without a default are told from the source of a class, with the form of a value; nothing is imported."""

from __future__ import annotations

import pytest

from tlsrt.config.declared_calls import source_finder
from tlsrt.config.required_options import RequiredOption, required_options

DEVICE = '''
raise AssertionError("imported")
from camera.lens import Lens, Missing
@dataclass(frozen=True)
class Point:
    x: int
    y: Annotated[float, "Upwards."]
    name: str = ""
class Node:
    inner: dict[str, "Node"]
    next: Node
class Camera(Component):
    class Options:
        """What it may be told."""
        kind: ClassVar[str] = "camera"
        lens: Annotated[dict[str, Lens], Length(1), "Lenses by name."]
        at: Point
        sizes: list[int]
        mode: Annotated[Literal["day", "night"], "When", "it works."]
        folder: Path | None
        lost: Missing
        node: Node
        named: str = field(metadata={"a": 1})
        size: int = 2
        tags: list[str] = field(default_factory=list)
        made: int = dataclasses.field(default=3)
        inner: int = field(init=False)
        spread: int = field(**more)
        def __post_init__(self): ...
class Distant(Component):
    Options = Lens
class Lost(Component):
    Options = Missing
class Made(Component):
    Options = make("Options")
class Silent(Component):
    pass
class Heir(Component):
    class Options(Camera.Options):
        more: int
class Conditional(Component):
    class Options:
        if True:
            thumb: int
'''
LENS = b"class Lens:\n    path: Path\n    on: bool\n    wide: bool = False\n"
SOURCES = {"camera.device": DEVICE.encode(), "camera.lens": LENS, "broken": b"class Camera(", "odd": b"\0"}


def test_what_has_no_default_is_named_with_its_words_and_the_form_of_a_value() -> None:
    found = required_options("camera.device:Camera", SOURCES.get)
    assert found[0] == RequiredOption("lens", "Lenses by name.", "{NAME: {path: PATH, on: true}}")
    assert {one.name: one.example for one in found[1:]} == {
        "at": "{x: NUMBER, y: NUMBER}",
        "sizes": "[NUMBER]",
        "mode": "day",
        "folder": "PATH",
        "lost": "VALUE",
        "node": "{inner: {NAME: VALUE}, next: {inner: {NAME: VALUE}, next: {inner: VALUE, next: VALUE}}}",
        "named": "TEXT",
    }
    assert next(one.doc for one in found if one.name == "mode") == "When it works."


@pytest.mark.parametrize(
    "class_path",
    [
        "camera.device:Silent", "camera.device:Lost", "camera.device:Made", "camera.device:Heir",
        "camera.device:Conditional", "camera.device:None",
        "broken:Camera", "odd:Camera", "away:Camera", "",
    ],
)  # fmt: skip
def test_a_class_whose_source_does_not_say_all_is_not_judged(class_path: str) -> None:
    assert required_options(class_path, SOURCES.get) == ()


def test_options_may_come_from_another_module() -> None:
    found = required_options("camera.device:Distant", SOURCES.get)
    assert [(one.name, one.example) for one in found] == [("path", "PATH"), ("on", "true")]


def test_a_source_that_nests_deeply_or_widely_ends() -> None:
    deep = f"class A:\n    class Options:\n        x: {'list[' * 90}int{']' * 90}\n"
    assert required_options("deep:A", {"deep": deep.encode()}.get)[0].example == "[[[VALUE]]]"
    fields = "".join(f"    x{at}: B\n" for at in range(1000))
    wide = f"class B:\n{fields}class A:\n    class Options:\n        x: B\n"
    assert required_options("wide:A", {"wide": wide.encode()}.get)[0].example == "VALUE"


def test_services_of_tlsrt_say_what_they_need() -> None:
    find = source_finder()
    assert [one.name for one in required_options("tlsrt.loops.secondary.backup:Backup", find)] == ["target", "sources"]
    [trees] = required_options("tlsrt.loops.third.files:Files", find)
    assert trees.example == "{NAME: {path: PATH}}"
    assert required_options("tlsrt.loops.secondary.updates:Updates", find) == ()
