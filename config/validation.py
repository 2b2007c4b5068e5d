"""Check of a file by its settings: a wrong value becomes a problem, the rest plain values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from tlsrt.config.setting import Setting, TableKey, Where, bounds, keys_of
from tlsrt.text import did_you_mean, quoted

if TYPE_CHECKING:  # else everybody who imports a value of the configuration would import YAML
    from tlsrt.config.yaml_nodes import Problems, YamlNode

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][-+]?[0-9]{1,2})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ENTRY = "an entry of "
ALIAS = "alias"  # the tag of a scalar whose problem is known
VARIABLE = "variable"  # the tag of a scalar that is the value of a variable: what it means, its setting says
_WORDS = {"int": "a number", "float": "a number", "bool": "true or false", "null": "nothing", "timestamp": "a date"}
_WANTED = {
    "text": "text", "path": "a path", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "list": "a list", "map": "a table of keys and values", "table": "a table of keys and values",
}  # fmt: skip


def twice(key: str, line: int) -> str:
    """Return the sentence for a key that stands in a table for the second time."""
    return f"the key {quoted(key)} is here twice (first in line {line})"


class Invalid:
    """Stands for a value that was wrong; its problem has been added."""


BAD: Final = Invalid()


class Checker:
    """Checks one file. `marks` tells where each key of the result stands, as (line, column)."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.marks: dict[Where, tuple[int, int]] = {}
        self._wrong = 0  # nodes that were refused

    def check(self, node: YamlNode, setting: Setting, where: Where = ()) -> object:
        """Return the plain value of `node`, or BAD; what is wrong inside is BAD or missing."""
        name = where[-1] if where else "the file"
        if node.tag == ALIAS:
            self._wrong += 1
            return BAD
        if node.tag == "null" and setting.nullable:
            return None
        if setting.kind == "free":
            return self._free(node, name, where)
        if setting.kind == "table":
            return self._table(node, setting, where, name)
        if setting.kind == "map":
            return self._map(node, setting, where, name)
        if setting.kind == "list":
            return self._list(node, setting, where, name)
        return self._scalar(node, setting, name)

    def refuse(self, where: Where, sentence: str) -> None:
        """Add a problem with the key that stands there."""
        self._wrong += 1
        self.problems.add(*self.marks[where], sentence)

    def _bad(self, node: YamlNode, sentence: str) -> Invalid:
        self._wrong += 1
        self.problems.add(node.line, node.column, sentence)
        return BAD

    def _wrong_kind(self, node: YamlNode, setting: Setting, name: str) -> Invalid:
        is_what = {"list": "a list", "map": "a table"}.get(node.kind) or _WORDS.get(node.tag, "text")
        quote = "; put it in quotes" if setting.kind in ("text", "path") and node.kind == "scalar" else ""
        if node.kind == "scalar" and setting.kind in ("integer", "number"):
            is_what = quoted(node.text)
        if node.tag == "null":
            if setting.absent:
                return self._bad(node, setting.absent)
            quote = ""
        return self._bad(node, f"{name} must be {_WANTED[setting.kind]}, not {is_what}{quote}")

    def _scalar(self, node: YamlNode, setting: Setting, name: str) -> object:
        tags = {"integer": ("int",), "number": ("int", "float"), "boolean": ("bool",)}.get(setting.kind, ("str",))
        if node.kind != "scalar" or node.tag not in (*tags, VARIABLE):
            return self._wrong_kind(node, setting, name)
        if setting.kind == "boolean":
            return self._boolean(node, name)
        if setting.kind in ("text", "path"):
            return self._text(node, setting, name)
        pattern = _INTEGER if setting.kind == "integer" else _NUMBER
        if not pattern.fullmatch(node.text):
            return self._bad(node, f"{name} must be {_WANTED[setting.kind]} in plain decimal, not {quoted(node.text)}")
        value: int | float = int(node.text) if setting.kind == "integer" else float(node.text)
        if setting.choices and value not in setting.choices:
            return self._bad(node, f"{name} must be {' or '.join(map(str, setting.choices))}, not {node.text}")
        return value if self._within(node, setting, value, name, "") else BAD

    def _boolean(self, node: YamlNode, name: str) -> object:
        if node.text not in ("true", "false"):
            return self._bad(node, f"{name} must be true or false, not {node.text}")
        return node.text == "true"

    def _text(self, node: YamlNode, setting: Setting, name: str) -> object:
        if _CONTROL.search(node.text) or (setting.kind == "path" and "\n" in node.text):
            return self._bad(node, f"{name} holds a control character")
        if setting.choices and node.text not in setting.choices:
            wanted = " or ".join(map(str, setting.choices))
            return self._bad(node, f"{name} must be {wanted}, not {quoted(node.text)}")
        if not self._within(node, setting, len(node.text), name, " characters"):
            return BAD
        if setting.pattern and not re.fullmatch(setting.pattern, node.text):
            return self._bad(node, f"{name} must be {setting.says}, not {quoted(node.text)}")
        try:
            if setting.parse is not None:
                setting.parse(node.text)
        except ValueError as error:
            return self._bad(node, str(error))
        return node.text

    def _within(self, node: YamlNode, setting: Setting, size: float, name: str, unit: str) -> bool:
        least, most = setting.least, setting.most
        if (least is None or size >= least) and (most is None or size <= most):
            return True
        self._bad(node, f"{name} must be {bounds(setting)}{unit}, not {size:.16g}")
        return False

    def _list(self, node: YamlNode, setting: Setting, where: Where, name: str) -> object:
        if setting.word and node.kind == "scalar" and node.tag == "str" and node.text == setting.word:
            return [setting.word]
        if node.items is None or setting.item is None:
            if setting.word:
                return self._bad(node, f'{name} must have a list of methods, or "{setting.word}" for all')
            return self._wrong_kind(node, setting, name)
        for index, item in enumerate(node.items):
            self.marks[(*where, str(index))] = (item.line, item.column)
        values = [self.check(item, setting.item, (*where[:-1], f"{_ENTRY}{name}")) for item in node.items]
        return values if self._within(node, setting, len(values), name, " entries") else BAD

    def _map(self, node: YamlNode, setting: Setting, where: Where, name: str) -> object:
        if node.pairs is None or setting.item is None:
            return self._wrong_kind(node, setting, name)
        values: dict[str, object] = {}
        for key, child in self._keys(node, where):
            values[key.text] = self.check(child, setting.item, (*where, key.text))
            if not re.fullmatch(setting.pattern, key.text):
                values[key.text] = self._bad(key, f"{name}: a key here is {setting.says}, not {quoted(key.text)}")
        self._within(node, setting, len(values), name, " entries")
        return values

    def _table(self, node: YamlNode, setting: Setting, where: Where, name: str) -> object:
        assert setting.table is not None
        known, values, wrong = keys_of(setting.table), dict[str, object](), self._wrong
        if node.pairs is None and setting.short and node.kind == "scalar":
            plain = self.check(node, known[setting.short].setting, where)
            return BAD if plain is BAD else {setting.short: plain}
        if node.pairs is None:
            return self._wrong_kind(node, setting, name)
        for key, child in self._keys(node, where):
            if key.text not in known:
                hint = did_you_mean(key.text, known)
                self._bad(key, f"unknown key {quoted(key.text)}{f' in {name}' if where else ''}{hint}")
                continue
            values[key.text] = self.check(child, known[key.text].setting, (*where, key.text))
        self._missing(node, known, where, values)
        self._switched(node, setting, where, values)
        is_right = wrong == self._wrong  # what lies deeper too: a check reads that
        if setting.check is not None and is_right and (sentence := setting.check(values)):
            self._bad(node, f"{where[-1] if where else name}: {sentence}")
        return {key: value for key, value in values.items() if value is not BAD}

    def _missing(
        self, node: YamlNode, known: Mapping[str, TableKey], where: Where, values: Mapping[str, object]
    ) -> None:
        for name, key in known.items():
            if key.required and name not in values:
                full = f"{where[-1]}: {name}" if where and where[-1].startswith(_ENTRY) else ".".join((*where, name))
                self._bad(node, key.setting.absent or f"{full} is missing: {key.setting.about}")

    def _switched(self, node: YamlNode, setting: Setting, where: Where, values: dict[str, object]) -> None:
        chosen = values.get(setting.switch)
        if not isinstance(chosen, str):
            return
        wanted = setting.needs[chosen]
        name = ".".join(where)
        if wanted not in values:
            self._bad(node, f"{name}.{wanted} is missing: {setting.switch} {chosen} needs it")
        for other in setting.needs.values():
            if other != wanted and other in values:
                self.refuse((*where, other), f"{name}.{other} does not go with {setting.switch} {chosen}: remove it")

    def _keys(self, node: YamlNode, where: Where) -> Iterable[tuple[YamlNode, YamlNode]]:
        """Give the pairs whose key is text and new; add a problem for the others."""
        seen: dict[str, int] = {}
        for key, child in node.pairs or ():
            if key.tag == ALIAS:
                continue
            if key.kind != "scalar" or key.tag not in ("str", "merge", "value"):
                self._bad(key, f"a key must be text{'; put it in quotes' if key.kind == 'scalar' else ''}")
                continue
            if key.text in seen:
                self._bad(key, twice(key.text, self.problems.line(seen[key.text])))
                continue
            seen[key.text] = key.line
            self.marks[(*where, key.text)] = (key.line, key.column)
            yield key, child

    def _free(self, node: YamlNode, name: str, where: Where) -> object:
        """An option of a component: any plain value."""
        if node.items is not None:
            for index, item in enumerate(node.items):
                self.marks[(*where, str(index))] = (item.line, item.column)
            return [self._free(item, name, (*where, str(index))) for index, item in enumerate(node.items)]
        if node.pairs is not None:
            return {key.text: self._free(child, name, (*where, key.text)) for key, child in self._keys(node, where)}
        if node.tag == "null":
            return None
        kinds = {"int": "integer", "float": "number", "bool": "boolean", "str": "text"}
        kind = kinds.get(node.tag)
        if node.tag == VARIABLE:
            kind = _kind_of(node.text) if node.is_plain else "text"
        if kind is None:
            return BAD if node.tag == ALIAS else self._bad(node, f"{name} is not a plain value; put it in quotes")
        return self._scalar(node, _FREE[kind], name)


def _kind_of(text: str) -> str:
    """Return what a value is that stands in a file without quotes."""
    if text in ("true", "false"):
        return "boolean"
    return "integer" if _INTEGER.fullmatch(text) else "number" if _NUMBER.fullmatch(text) else "text"


_FREE = {kind: Setting(kind=kind, about="") for kind in ("integer", "number", "boolean", "text")}
