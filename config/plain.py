"""YAML text to plain Python values, for the data files that come with tlsrt. Pure, and as strict as a configuration:
no anchors, no aliases, no tags, no key twice.
"""

from __future__ import annotations

from typing import Any

from tlsrt.config.yaml_nodes import Problems, YamlNode, read_document

_INTEGERS = {"0x": 16, "0o": 8}


def read_plain(text: str, file: str) -> Any:
    """Return the one document of `text`: maps with text keys, lists, texts, integers, booleans, None.

    Raises ConfigError naming `file`, line and column.
    """
    problems = Problems(file)
    node = read_document(text, problems)
    problems.raise_if_any()
    assert node is not None
    value = _value(node, problems)
    problems.raise_if_any()
    return value


def _value(node: YamlNode, problems: Problems) -> Any:
    if node.items is not None:
        return [_value(item, problems) for item in node.items]
    if node.pairs is not None:
        return _map(node.pairs, problems)
    if node.tag == "int":
        return int(node.text, _INTEGERS.get(node.text[:2], 10))
    if node.tag in ("bool", "null"):
        return None if node.tag == "null" else node.text.lower() in ("true", "yes", "on")
    if node.tag != "str":
        problems.add(node.line, node.column, f"a {node.tag} has no meaning here: put {node.text} in quotes")
    return node.text


def _map(pairs: list[tuple[YamlNode, YamlNode]], problems: Problems) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key.tag != "str":
            problems.add(key.line, key.column, "a key must be text")
        elif key.text in found:
            problems.add(key.line, key.column, f"{key.text} stands here for the second time")
        else:
            found[key.text] = _value(value, problems)
    return found
