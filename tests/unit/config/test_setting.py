"""What is said of each setting where it is written: a sentence, a fitting kind, an example that is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from tlsrt.config import schema
from tlsrt.config.setting import Builder, Setting, TableKey, keys_of
from tlsrt.config.validation import Checker
from tlsrt.config.yaml_nodes import Problems, read_document

NUMBERS = {"integer": int, "number": float, "boolean": bool}


def below(setting: Setting, where: str = "") -> Iterator[tuple[str, type[Any], TableKey]]:
    """Every key of a table, and of the tables in it."""
    while setting.item is not None:
        setting, where = setting.item, f"{where}.*"
    if setting.table is None:
        return
    for name, key in keys_of(setting.table).items():
        full = f"{where}.{name}".strip(".")
        yield full, setting.table, key
        yield from below(key.setting, full)


ALL = [*below(schema.FILE)]
KEYS = pytest.mark.parametrize(
    ("table", "key"), [(table, key) for _, table, key in ALL], ids=[name for name, *_ in ALL]
)


def items_of(setting: Setting) -> Iterator[Setting]:
    yield setting
    if setting.item is not None:
        yield from items_of(setting.item)


def test_there_are_many() -> None:
    assert len(ALL) > 100


@KEYS
def test_a_setting_says_what_it_is(table: type[Any], key: TableKey) -> None:
    for setting in items_of(key.setting):
        assert len(setting.about) > 4 and setting.about.endswith(".")
    assert (table.__doc__ or "").partition("\n")[0].endswith(".")


@KEYS
def test_its_kind_is_that_of_the_field(table: type[Any], key: TableKey) -> None:
    hint = get_type_hints(table)[key.field]
    kinds = {*get_args(hint)} - {type(None)} if type(None) in get_args(hint) else {hint}
    [kind] = kinds
    setting = key.setting
    if setting.kind in NUMBERS:
        assert kind is NUMBERS[setting.kind]
    elif setting.kind == "path":
        assert kind is Path
    elif setting.kind == "table":
        assert kind is setting.table
    elif setting.kind == "list":
        assert get_origin(kind) is tuple
    elif setting.kind == "map":
        assert setting.item is not None
        assert (get_origin(kind) is tuple) or not setting.item.named_by


@KEYS
def test_it_has_an_example_that_is_taken(table: type[Any], key: TableKey) -> None:
    setting = key.setting
    if not setting.example:
        assert key.default is not None or setting.choices or setting.kind in ("table", "boolean")
        return
    problems = Problems("example")
    node = read_document(setting.example, problems)
    assert node is not None
    Checker(problems).check(node, setting, ("key",))
    problems.raise_if_any()


@KEYS
def test_its_default_is_taken_and_gives_that_of_the_dataclass(table: type[Any], key: TableKey) -> None:
    assert not (key.required and key.default is not None)
    if key.default is None or key.setting.default is not None:
        return
    name = key.setting.key or key.field
    values = Builder().values(table, {name: key.default})
    field = table.__dataclass_fields__[key.field]
    assert values[key.field] == (field.default_factory() if callable(field.default_factory) else field.default)
