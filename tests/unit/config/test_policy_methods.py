"""Methods that the policy names and no class has."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tlsrt import Component
from tlsrt.config.access import PolicyRule
from tlsrt.config.components import ComponentConfig
from tlsrt.config.defaults import COMPONENTS
from tlsrt.config.load import parse_config
from tlsrt.config.policy_methods import handlers_of, unknown_methods

SOURCE = """
import tlsrt
from tlsrt import Component, handler

class Notes(Component):
    @handler
    async def add(self) -> None: ...
    @handler(idempotent=True)
    async def all(self) -> None: ...
    @tlsrt.handler
    async def find(self) -> None: ...
    async def private(self) -> None: ...

class More(Notes):
    @handler
    async def more(self) -> None: ...

class Empty(Component):
    pass
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noted.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("class Notes(Component:")
    monkeypatch.setattr("tlsrt.config.policy_methods.source_of", lambda module, place: tmp_path / f"{module}.py")


@pytest.mark.usefixtures("notes")
def test_only_what_the_source_tells_for_certain_is_known() -> None:
    assert handlers_of("noted:Notes") == ["add", "all", "find"]
    assert handlers_of("noted:Empty") == []
    assert [handlers_of(path) for path in ("noted:More", "noted:Absent", "broken:Notes")] == [None, None, None]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda one: one.address)
def test_what_is_read_is_what_the_classes_have(component: ComponentConfig) -> None:
    path = component.class_path
    module, _, kind = path.partition(":")
    found = getattr(importlib.import_module(module), kind)
    assert issubclass(found, Component)
    assert handlers_of(path) == list(found.__tlsrt_methods__)


def test_a_mistyped_method_is_one_sentence_with_the_nearest(minimal: str) -> None:
    config = parse_config(minimal.encode(), Path("/etc/tlsrt/tlsrt.yaml"))
    rules = [
        PolicyRule("client/admin", "secondary/store", ("get", "gett", "describe", "subscribe")),
        PolicyRule("client/admin", "third/io", ("*",)),
        PolicyRule("client/admin", "third/*", ("nothing",)),
        PolicyRule("client/admin", "third/absent", ("nothing",)),
    ]
    (sentence,) = unknown_methods(config, rules)
    assert sentence.startswith("policy: client/admin may call gett of secondary/store, which has no such method")
    assert "did you mean get?" in sentence
    (sentence,) = unknown_methods(config, [PolicyRule("client/admin", "forth/power", ("zzz",))])
    assert ": it has " in sentence
