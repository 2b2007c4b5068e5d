"""The import of components: what is wrong with one is one sentence, and of that one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsrt.channels.control.life import FailCode
from tlsrt.config.components import ComponentConfig
from tlsrt.errors import ConfigError
from tlsrt.loops.runtime.imports import LoopFailure, import_components, start_code, start_sentence
from tlsrt.loops.runtime.thread_watch import ThreadWatch

LOG = logging.getLogger("test")


SOURCES = {
    "watched/__init__.py": "",
    "watched/kinds.py": """
from tlsrt import Component
class Plain(Component): ...
class Typed(Component):
    class Options:
        size: int
class Failing(Component):
    def __init__(self): raise ValueError("no\\nwater")
class Wanting(Component):
    def __init__(self, options, more=1): ...
class Stranger: ...
class Ending(Component):
    def __init__(self): raise SystemExit(3)
class Threading(Component):
    def warm_up(self): raise RuntimeError("can't start new thread")
""",
    "watched/telemetry.py": """
raise RuntimeError("can't start new thread")
""",
    "watched/deep.py": """
try:
    import watched.telemetry
except RuntimeError as error:
    raise ImportError("no telemetry") from error
""",
}


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, source in SOURCES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "watched"]:
        del sys.modules[name]


def component(name: str, class_path: str, **options: object) -> ComponentConfig:
    return ComponentConfig("third", name, class_path, options=options, places={(): "/etc/tlsrt.yaml:3:5"})


def failure(*configs: ComponentConfig) -> LoopFailure:
    with pytest.raises(LoopFailure) as caught:
        import_components(configs, LOG, ThreadWatch(lambda: True))
    return caught.value


def test_a_module_that_is_missing_is_missing() -> None:
    found = failure(component("first", "watched.absent:Any"))
    assert str(found) == "component third/first: cannot import watched.absent:Any: No module named 'watched.absent'"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Failing", "no; water"),
        ("Ending", "3"),
        ("Missing", "has no attribute"),
        ("Wanting", "Wanting.__init__ takes options, but the runtime makes the object without arguments; read"),
        ("Stranger", "Stranger is no class derived from tlsrt.Component"),
    ],
)
def test_whatever_an_import_raises_is_one_line_and_of_that_component(kind: str, words: str) -> None:
    found = failure(component("first", "watched.kinds:Plain"), component("second", f"watched.kinds:{kind}"))
    assert (found.code, found.index) == (FailCode.IMPORT, 1)
    assert words in str(found) and str(found).isprintable()


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("watched.deep:Any", "the import of watched.telemetry"),
        ("watched.kinds:Threading", "its own code"),
    ],
)
def test_a_thread_that_there_was_no_room_for_is_told_as_one_that_was_started(path: str, what: str) -> None:
    found = failure(component("first", "watched.kinds:Plain"), component("second", path))
    assert (found.code, found.index) == (FailCode.THREADS, 1)
    assert str(found).startswith(f"component third/second: {what} started a thread, which the seal would not hold: ")


def test_options_are_checked_with_their_place_before_an_object_is_made() -> None:
    found = failure(component("first", "watched.kinds:Typed", sise=1, size="x"))
    assert found.code == FailCode.CONFIGURATION
    assert str(found) == (
        "/etc/tlsrt.yaml:3:5: third/first: unknown option sise, did you mean size?; and 1 more, in its log"
    )


def test_a_start_that_refuses_its_configuration_is_not_tried_again() -> None:
    assert start_code(ConfigError("no such broker")) is FailCode.CONFIGURATION
    assert start_sentence("third/x", ConfigError("no such broker")) == "component third/x: no such broker"
    assert start_code(ValueError("x")) is FailCode.COMPONENT_START
    assert start_code(OSError(28, "full")) is FailCode.DISK
    assert start_sentence("third/x", ValueError("no\nwater")) == "component third/x: start raised ValueError: no; water"
