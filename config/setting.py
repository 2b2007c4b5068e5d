"""One setting of a configuration file: its kind, its bounds and a sentence for people.

A setting is written once, as a field of a frozen dataclass (`schema.py` and its parts) with a `Setting` as metadata:

    epoch_s: float = field(default=900.0, metadata=seconds("Time until all keys change.", 5, 86400))

Everything else follows from that: `validation.py` checks a file, `Builder` makes the values, `json_schema.py` tells
editors, `reference.py` tells people. A field without a `Setting` is not in the file: the reader fills it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

Kind = Literal["text", "integer", "number", "boolean", "path", "list", "map", "table", "free"]
Metadata = Mapping[str, "Setting"]  # of one dataclass field
Where = tuple[str, ...]  # keys, from the outermost to the one that is meant; an entry of a list has its index

NAME = "[a-z][a-z0-9_]{0,30}"
NAME_SAYS = "a name of a-z, 0-9 and _, starting with a letter, at most 31 characters"
PROCESS = rf"{NAME}(?:\.{NAME})?"
PROCESS_SAYS = f"{NAME_SAYS}, or a process of a loop, as loop.part"
IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
ADDRESS = f"{NAME}/{NAME}"
ADDRESS_SAYS = "a component address, loop/name"
VARIABLE_NAME = "TLSRT_[A-Z0-9][A-Z0-9_]{0,56}"
VARIABLE_SAYS = "TLSRT_ and more of A-Z, 0-9 and _, as only such variables reach the runtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value. `least` and `most` bound a number, the length of a text, or the count of entries."""

    kind: Kind
    about: str
    key: str = ""  # in the file, where it is not the name of the field
    default: object = None  # as a file would say it, where the dataclass has none or another one
    default_says: str = ""  # the default in words, where more than this setting decides it
    required: bool | None = None  # None: if there is no default
    absent: str = ""  # what to say instead when it is missing or null
    nullable: bool = False
    least: float | None = None
    most: float | None = None
    unit: str = ""  # of a number
    pattern: str = ""  # of a text, or of the keys of a map
    says: str = ""  # the pattern in words
    parse: Callable[[str], object] | None = None  # text to value: raises ValueError with a sentence for what it is not
    choices: tuple[str | int, ...] = ()
    word: str = ""  # a list may be this one word instead
    item: Setting | None = None  # of a list or map
    table: type[Any] | None = None  # the dataclass of a table
    named_by: str = ""  # the field of the table that takes its key in a map, which becomes a tuple then
    placed_by: str = ""  # the field of the table that takes its place, FILE:LINE:COL
    short: str = ""  # the key of the table that a plain value in its place stands for
    switch: str = ""  # a table's text field whose value decides which of `needs` goes with it
    needs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    check: Callable[[Mapping[str, Any]], str] | None = None  # a whole table: the sentence for what is wrong, or ""
    on_reload: bool = False  # a change is taken while the host runs
    example: str = ""  # YAML in one line

    @property
    def sentences(self) -> str:
        """All there is to say where only one text can stand, as in an editor."""
        default = f" By default {self.default_says}." if self.default_says else ""
        return f"{self.about}{default}{f' Unit: {self.unit}.' if self.unit else ''}"


def bounds(setting: Setting) -> str:
    """Return `from 1 to 64`, `at most 64` or `at least 1`; empty if there are none."""
    least, most = setting.least, setting.most
    if least is not None and most is not None:
        return f"from {least:.16g} to {most:.16g}"
    if most is not None:
        return f"at most {most:.16g}"
    return "" if least is None else f"at least {least:.16g}"


def _metadata(kind: Kind, about: str, more: Mapping[str, Any]) -> Metadata:
    return {"setting": Setting(kind=kind, about=about, **more)}


def text(about: str, **more: Any) -> Metadata:
    return _metadata("text", about, more)


def choice(about: str, words: type[StrEnum], **more: Any) -> Metadata:
    """Describe a text that is one word of an enum."""
    return _metadata("text", about, {"choices": tuple(map(str, words)), "parse": words, **more})


def boolean(about: str, **more: Any) -> Metadata:
    return _metadata("boolean", about, more)


def file_path(about: str, **more: Any) -> Metadata:
    return _metadata("path", about, {"least": 1, "most": 1024, **more})


def count(about: str, least: int, most: int, **more: Any) -> Metadata:
    return _metadata("integer", about, {"least": least, "most": most, **more})


def number(about: str, least: float, most: float, **more: Any) -> Metadata:
    return _metadata("number", about, {"least": least, "most": most, **more})


def seconds(about: str, least: float, most: float, **more: Any) -> Metadata:
    return number(about, least, most, unit="s", **more)


def listing(about: str, item: Metadata, most: int, **more: Any) -> Metadata:
    return _metadata("list", about, {"item": item["setting"], "most": most, **more})


def mapping(about: str, item: Metadata, most: int, pattern: str = NAME, says: str = NAME_SAYS, **more: Any) -> Metadata:
    values = {"item": item["setting"], "most": most, "pattern": pattern, "says": says, **more}
    return _metadata("map", about, values)


def table(kind: type[Any], about: str = "", **more: Any) -> Metadata:
    """Describe a table by its dataclass, whose docstring begins with its sentence."""
    return _metadata("table", about or (kind.__doc__ or "").partition("\n")[0], {"table": kind, **more})


def anything(about: str) -> Metadata:
    return _metadata("free", about, {})


_WHY = {"least": 3, "most": 1000, "example": "it sends the reports there"}
WHY = text("The reason, for the next reader.", **_WHY)
REQUIRED_WHY = text("The reason, for the next reader.", **_WHY, required=True)  # where the dataclass has a default


class TableKey(NamedTuple):
    """One key of a table in the file."""

    field: str  # of the dataclass
    setting: Setting
    default: object  # as a file would say it; None: there is none, or another setting decides
    required: bool


def keys_of(kind: type[Any]) -> Mapping[str, TableKey]:
    """Return the keys of a table: the fields of dataclass `kind` that have a `Setting`."""
    if kind not in _KEYS:
        _KEYS[kind] = _read_keys(kind)
    return _KEYS[kind]


_KEYS: dict[type[Any], Mapping[str, TableKey]] = {}  # made once each, when a file is read


def _read_keys(kind: type[Any]) -> dict[str, TableKey]:
    found: dict[str, TableKey] = {}
    for field in dataclasses.fields(kind):
        setting: Setting | None = field.metadata.get("setting")
        if setting is None:
            continue
        default = setting.default if setting.default is not None else _plain(_default_of(field))
        is_open = field.default is MISSING and field.default_factory is MISSING and default is None
        required = is_open if setting.required is None else setting.required
        if required or setting.default_says:
            default = None
        found[setting.key or field.name] = TableKey(field.name, setting, default, required)
    return found


def _default_of(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, StrEnum | Path):
        return str(value)
    return None if dataclasses.is_dataclass(value) else value


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes dataclasses from a tree that was checked; relative paths start at `folder`."""

    folder: Path = Path()
    place: Callable[[Where], str] = ".".join  # of the keys in the file

    def make(self, table: type[Any], tree: Mapping[str, Any], where: Where = ()) -> Any:
        return table(**self.values(table, tree, where))

    def values(self, table: type[Any], tree: Mapping[str, Any], where: Where = ()) -> dict[str, Any]:
        """Return the fields that the tree gives, and the defaults that the dataclass does not have."""
        found: dict[str, Any] = {}
        for name, key in keys_of(table).items():
            if name in tree:
                found[key.field] = self._value(key.setting, tree[name], (*where, name))
            elif key.setting.default is not None:
                found[key.field] = self._value(key.setting, key.setting.default, where)
        return found

    def _value(self, setting: Setting, value: Any, where: Where) -> Any:
        if setting.kind == "table":
            return self._table(setting, value or {}, where)
        if value is None or setting.kind == "free":
            return value
        if setting.kind == "path":
            return self.folder / value
        if setting.kind == "text" and setting.parse is not None:
            return setting.parse(value)
        if setting.item is None:
            return value
        if setting.kind == "list":
            return tuple(self._value(setting.item, one, (*where, str(at))) for at, one in enumerate(value))
        made = {key: self._value(setting.item, one, (*where, key)) for key, one in value.items()}
        return tuple(made.values()) if setting.item.named_by else made

    def _table(self, setting: Setting, tree: Mapping[str, Any], where: Where) -> Any:
        assert setting.table is not None
        values = self.values(setting.table, tree, where)
        if setting.named_by:
            values[setting.named_by] = where[-1]
        if setting.placed_by:
            values[setting.placed_by] = self.place(where)
        return setting.table(**values)
