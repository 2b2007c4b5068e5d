"""Nodes of a file against the table of fields: every wrong value becomes a problem, the rest plain values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tlsrt.config.field import Field
from tlsrt.config.yaml_nodes import Problems, YamlNode

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][-+]?[0-9]{1,2})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ENTRY = "an entry of "
_SHOWN = 60  # characters of a wrong value that a sentence repeats
_WORDS = {"int": "a number", "float": "a number", "bool": "true or false", "null": "nothing", "timestamp": "a date"}
_WANTED = {
    "text": "text", "path": "a path", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "list": "a list", "map": "a table of keys and values", "table": "a table of keys and values",
}  # fmt: skip


class Invalid:
    """Stands for a value that was wrong; its problem has been added."""


BAD: Final = Invalid()
Where = tuple[str, ...]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean X?` for the known word nearest to `word`, or an empty text."""
    import difflib  # only a wrong file pays for it

    found = difflib.get_close_matches(word[:200], list(known), n=1, cutoff=0.5)
    return f", did you mean {found[0]}?" if found else ""


def shown(text: str) -> str:
    """Return `text` short and printable, in quotes."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


class Checker:
    """Judges one file. `marks` tells where each key of the result stands: path of keys -> (line, column).

    An entry of a list has its index as key.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.marks: dict[Where, tuple[int, int]] = {}

    def check(self, node: YamlNode, field: Field, where: Where = ()) -> object:
        """Return the plain value of `node`, or BAD; in a map or table only what is wrong is BAD or missing."""
        name = where[-1] if where else "the file"
        if node.tag == "alias":
            return BAD
        if node.tag == "null" and field.nullable:
            return None
        if field.kind == "free":
            return self._free(node, name)
        if field.kind == "table":
            return self._table(node, field, where, name)
        if field.kind == "map":
            return self._map(node, field, where, name)
        if field.kind == "list":
            return self._list(node, field, where, name)
        return self._scalar(node, field, name)

    def _bad(self, node: YamlNode, sentence: str) -> Invalid:
        self.problems.add(node.line, node.column, sentence)
        return BAD

    def _wrong_kind(self, node: YamlNode, field: Field, name: str) -> Invalid:
        is_what = {"list": "a list", "map": "a table"}.get(node.kind) or _WORDS.get(node.tag, "text")
        quote = "; put it in quotes" if field.kind in ("text", "path") and node.kind == "scalar" else ""
        if node.kind == "scalar" and field.kind in ("integer", "number"):
            is_what = shown(node.text)
        if node.tag == "null":
            if field.absent:
                return self._bad(node, field.absent)
            quote = ""
        return self._bad(node, f"{name} must be {_WANTED[field.kind]}, not {is_what}{quote}")

    def _scalar(self, node: YamlNode, field: Field, name: str) -> object:
        tags = {"integer": ("int",), "number": ("int", "float"), "boolean": ("bool",)}.get(field.kind, ("str",))
        if node.kind != "scalar" or node.tag not in tags:
            return self._wrong_kind(node, field, name)
        if field.kind == "boolean":
            return self._boolean(node, name)
        if field.kind in ("text", "path"):
            return self._text(node, field, name)
        pattern = _INTEGER if field.kind == "integer" else _NUMBER
        if not pattern.fullmatch(node.text):
            return self._bad(node, f"{name} must be {_WANTED[field.kind]} in plain decimal, not {shown(node.text)}")
        value: int | float = int(node.text) if field.kind == "integer" else float(node.text)
        if field.choices and value not in field.choices:
            return self._bad(node, f"{name} must be {' or '.join(map(str, field.choices))}, not {node.text}")
        return value if self._within(node, field, value, name, "") else BAD

    def _boolean(self, node: YamlNode, name: str) -> object:
        if node.text not in ("true", "false"):
            return self._bad(node, f"{name} must be true or false, not {node.text}")
        return node.text == "true"

    def _text(self, node: YamlNode, field: Field, name: str) -> object:
        if _CONTROL.search(node.text) or (field.kind == "path" and "\n" in node.text):
            return self._bad(node, f"{name} holds a control character")
        if field.choices and node.text not in field.choices:
            wanted = " or ".join(map(str, field.choices))
            return self._bad(node, f"{name} must be {wanted}, not {shown(node.text)}")
        if not self._within(node, field, len(node.text), name, " characters"):
            return BAD
        if field.pattern and not re.fullmatch(field.pattern, node.text):
            return self._bad(node, f"{name} must be {field.says}, not {shown(node.text)}")
        try:
            if field.parse is not None:
                field.parse(node.text)
        except ValueError as error:
            return self._bad(node, str(error))
        return node.text

    def _within(self, node: YamlNode, field: Field, size: float, name: str, unit: str) -> bool:
        least, most = field.least, field.most
        if (least is None or size >= least) and (most is None or size <= most):
            return True
        limits = f"at least {least:.16g}" if most is None else f"at most {most:.16g}"
        if least is not None and most is not None:
            limits = f"from {least:.16g} to {most:.16g}"
        self._bad(node, f"{name} must be {limits}{unit}, not {size:.16g}")
        return False

    def _list(self, node: YamlNode, field: Field, where: Where, name: str) -> object:
        if field.word and node.kind == "scalar" and node.tag == "str" and node.text == field.word:
            return [field.word]
        if node.items is None or field.item is None:
            if field.word:
                return self._bad(node, f'{name} must have a list of methods, or "{field.word}" for all')
            return self._wrong_kind(node, field, name)
        for index, item in enumerate(node.items):
            self.marks[(*where, str(index))] = (item.line, item.column)
        values = [self.check(item, field.item, (*where[:-1], f"{_ENTRY}{name}")) for item in node.items]
        return values if self._within(node, field, len(values), name, " entries") else BAD

    def _map(self, node: YamlNode, field: Field, where: Where, name: str) -> object:
        if node.pairs is None or field.item is None:
            return self._wrong_kind(node, field, name)
        values: dict[str, object] = {}
        for key, child in self._keys(node, where):
            values[key.text] = self.check(child, field.item, (*where, key.text))
            if not re.fullmatch(field.pattern, key.text):
                values[key.text] = self._bad(key, f"{name}: a key here is {field.says}, not {shown(key.text)}")
        self._within(node, field, len(values), name, " entries")
        return values

    def _table(self, node: YamlNode, field: Field, where: Where, name: str) -> object:
        if node.pairs is None:
            return self._wrong_kind(node, field, name)
        values: dict[str, object] = {}
        for key, child in self._keys(node, where):
            known = field.fields.get(key.text)
            if known is None:
                hint = nearest(key.text, field.fields)
                self._bad(key, f"unknown key {shown(key.text)}{f' in {name}' if where else ''}{hint}")
                continue
            values[key.text] = self.check(child, known, (*where, key.text))
        self._missing(node, field, where, values)
        self._switched(node, field, where, values)
        return {key: value for key, value in values.items() if value is not BAD}

    def _missing(self, node: YamlNode, field: Field, where: Where, values: dict[str, object]) -> None:
        for key, known in field.fields.items():
            if known.required and key not in values:
                name = ".".join((*where, key))
                if where and where[-1].startswith(_ENTRY):
                    name = f"{where[-1]}: {key}"
                self._bad(node, known.absent or f"{name} is missing: {known.about}")

    def _switched(self, node: YamlNode, field: Field, where: Where, values: dict[str, object]) -> None:
        chosen = values.get(field.switch)
        if not isinstance(chosen, str):
            return
        wanted = field.needs[chosen]
        name = ".".join(where)
        if wanted not in values:
            self._bad(node, f"{name}.{wanted} is missing: {field.switch} {chosen} needs it")
        for other in field.needs.values():
            if other != wanted and other in values:
                line, column = self.marks[(*where, other)]
                self.problems.add(line, column, f"{name}.{other} does not go with {field.switch} {chosen}: remove it")

    def _keys(self, node: YamlNode, where: Where) -> Iterable[tuple[YamlNode, YamlNode]]:
        """Give the pairs whose key is text and new; add a problem for the others."""
        seen: dict[str, int] = {}
        for key, child in node.pairs or ():
            if key.tag == "alias":
                continue
            if key.kind != "scalar" or key.tag not in ("str", "merge", "value"):
                self._bad(key, f"a key must be text{'; put it in quotes' if key.kind == 'scalar' else ''}")
                continue
            if key.text in seen:
                self._bad(key, f"the key {shown(key.text)} is here twice (first in line {seen[key.text]})")
                continue
            seen[key.text] = key.line
            self.marks[(*where, key.text)] = (key.line, key.column)
            yield key, child

    def _free(self, node: YamlNode, name: str) -> object:
        """An option of a component: any plain value."""
        if node.items is not None:
            return [self._free(item, name) for item in node.items]
        if node.pairs is not None:
            return {key.text: self._free(child, name) for key, child in self._keys(node, ())}
        if node.tag == "null":
            return None
        kinds = {"int": "integer", "float": "number", "bool": "boolean", "str": "text"}
        kind = kinds.get(node.tag)
        if kind is None:
            return BAD if node.tag == "alias" else self._bad(node, f"{name} is not a plain value; put it in quotes")
        return self._scalar(node, _FREE[kind], name)


_FREE = {
    "integer": Field(kind="integer", about=""),
    "number": Field(kind="number", about=""),
    "boolean": Field(kind="boolean", about=""),
    "text": Field(kind="text", about=""),
}
