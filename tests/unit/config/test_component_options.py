"""A mistyped option is said by `seal` and by a start, before any loop runs; nothing is imported for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tlsrt.config.component_options import check_classes, check_options, declared, unknown_options
from tlsrt.config.components import ComponentConfig
from tlsrt.config.load import parse_config
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.reload.plan import changed_components

CAMERA = '''
raise AssertionError("imported")
class Other(Component):
    class Options:
        other: int
class Camera(Component):
    """Takes pictures."""
    @dataclass(frozen=True)
    class Options:
        """What it may be told."""
        kind: ClassVar[str] = "camera"
        thumb: Annotated[int, Range(1)] = 1
        size: int = 2
        def __post_init__(self): ...
class Silent(Component):
    pass
class Heir(Component):
    class Options(Camera.Options):
        more: int = 1
class Made(Component):
    Options = make_dataclass("Options", ["thumb"])
class Conditional(Component):
    class Options:
        if True:
            thumb: int = 1
'''


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "camera").mkdir()
    (tmp_path / "camera/__init__.py").write_text("")
    (tmp_path / "camera/device.py").write_text(CAMERA)
    (tmp_path / "flat.py").write_text(CAMERA)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def with_options(config: Config, class_path: str, **options: object) -> Config:
    component = ComponentConfig("third", "camera", class_path, options=options)
    return replace(config, components=(*config.components, component))


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize("module", ["camera.device", "flat"])
def test_an_unknown_option_is_one_sentence_with_the_nearest_name(config: Config, module: str) -> None:
    check_options(with_options(config, f"{module}:Camera", thumb=1, size=2))
    with pytest.raises(ConfigError) as caught:
        check_options(with_options(config, f"{module}:Camera", tumb=1, brightness=2))
    assert caught.value.problems == (
        "components.third/camera: unknown option tumb, did you mean thumb?",
        "components.third/camera: unknown option brightness: it has thumb, size",
    )


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize("kind", ["Silent", "Heir", "Made", "Conditional", "Missing"])
def test_what_declares_nothing_takes_anything(config: Config, kind: str) -> None:
    check_options(with_options(config, f"flat:{kind}", anything=1))
    check_options(with_options(config, "no_such_module:Kind", anything=1))


@pytest.mark.parametrize("signs", [1_000, 100_000])
def test_a_source_that_is_too_deep_is_left_to_its_import(config: Config, camera: Path, signs: int) -> None:
    options = f"class Options:\n        deep: {'-' * signs}1 = 2\n        own: t.ClassVar[int] = 1\n"
    (camera / "flat.py").write_text(f"class Camera:\n    {options}        other: 'ClassVar[int]' = 1\n")
    made = with_options(config, "flat:Camera", deep=1)
    check_options(made)
    check_classes(made)
    assert declared(camera / "flat.py", "Camera") == (("deep",) if signs == 1_000 else None)


def test_components_of_the_runtime_declare_theirs(config: Config) -> None:
    components = [
        replace(component, options={"max_byte": 1}) if component.address == "secondary/store" else component
        for component in config.components
    ]
    with pytest.raises(ConfigError, match="secondary/store: unknown option max_byte, did you mean max_bytes"):
        check_options(replace(config, components=tuple(components)))


def test_options_of_another_module_are_known(config: Config) -> None:
    check_options(with_options(config, "tlsrt.loops.external.messages:Messages", mailbox_mb=1))
    with pytest.raises(ConfigError, match="third/camera: unknown option mailbox_md, did you mean mailbox_mb"):
        check_options(with_options(config, "tlsrt.loops.external.messages:Messages", mailbox_md=1))


def test_a_start_refuses_options_of_primary_only(config: Config) -> None:
    def wrong(address: str) -> Config:
        components = (replace(one, options={"size": 1}) if one.address == address else one for one in config.components)
        return replace(config, components=tuple(components))

    check_options(wrong("secondary/store"), process="primary")
    with pytest.raises(ConfigError, match="primary/events: unknown option size: it has none"):
        check_options(wrong("primary/events"), process="primary")
    assert len(unknown_options(wrong("secondary/store"))) == 1


def test_a_source_that_does_not_parse_declares_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class Camera(:\n")
    assert declared(tmp_path / "a.py", "Camera") is None


CLASSES = """
from elsewhere import Imported, Other as Renamed
if True:
    from elsewhere import Deep
    class Guarded: ...
Made = type("Made", (), {})
class Notes: ...
class Nodes: ...
"""


@pytest.mark.parametrize("kind", ["Notes", "Imported", "Renamed", "Deep", "Guarded", "Made"])
def test_a_class_that_its_module_has_is_accepted(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "noted.py").write_text(CLASSES)
    monkeypatch.syspath_prepend(tmp_path)
    check_classes(with_options(config, f"noted:{kind}"))


def test_a_mistyped_class_is_one_sentence_with_the_nearest_name(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noted.py").write_text(CLASSES)
    (tmp_path / "starred.py").write_text("from elsewhere import *\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"^components\.third/camera: noted has no class Nots, did you mean Notes\?$"):
        check_classes(with_options(config, "noted:Nots"))
    check_classes(with_options(config, "starred:Nots"))  # it may come from there
    check_classes(with_options(config, "absent:Nots"))  # which is said elsewhere


MARKED = """\
version: 1
install: "0123456789abcdef0123456789abcdef"
master_key: {provider: file, path: master.key}
boot_token: boot.token
door: {certificate: server.crt, key: server.key, client_ca: ca.crt}
components:
  third/camera:
    class: "flat:Camera"
    options:
      tumb: 1
      size: [{"x": 1},
             2]
  third/silent: {class: "flat:Silent"}
"""


def marked(text: str) -> Config:
    return parse_config(text.encode(), Path("/t.yaml"))


@pytest.mark.usefixtures("camera")
def test_options_know_their_places_in_the_file() -> None:
    loaded = marked(MARKED)
    camera, silent = (one for one in loaded.components if one.address in ("third/camera", "third/silent"))
    assert camera.place(("tumb",)) == "/t.yaml:10:7" and camera.place(()) == "/t.yaml:9:5"
    assert camera.place(("size", "0", "x")) == "/t.yaml:11:15" and camera.place(("size", "1")) == "/t.yaml:12:14"
    assert camera.place(("size", "7", "y")) == "/t.yaml:11:7", "the nearest thing around it"
    assert silent.place(("any",)) == "/t.yaml:13:3"
    with pytest.raises(ConfigError, match=r"^/t.yaml:10:7: third/camera: unknown option tumb, did you mean thumb\?$"):
        check_options(loaded)


def test_places_are_no_part_of_what_a_component_is() -> None:
    before, after = marked(MARKED), marked(f"# more\n\n{MARKED}")
    assert before.components == after.components and changed_components(before.components, after.components) == []
    assert before.components[-1].places != after.components[-1].places
