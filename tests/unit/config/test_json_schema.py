"""The JSON Schema says the same as the reader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tlsrt.config.door import DoorConfig
from tlsrt.config.json_schema import json_schema
from tlsrt.config.load import parse_config
from tlsrt.config.schema import LimitsConfig


def nodes(schema: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield where, schema
    for option in schema.get("anyOf", ()):
        for name, child in nodes(option, where):
            if name != where:
                yield name, child
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{where}.{name}")
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{where}.*")


def allowed(schema: dict[str, Any], value: Any) -> bool:
    """The few keywords of draft 2020-12 that our schema uses."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "object": dict,
        "array": list,
        "null": type(None),
        "boolean": bool,
        "integer": int,
        "number": (int, float),
    }
    if "anyOf" in schema and not any(allowed(option, value) for option in schema["anyOf"]):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "type" in schema and (
        not isinstance(value, kinds[schema["type"]]) or (value is True and schema["type"] != "boolean")
    ):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return False
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, list):
        in_range = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return in_range and all(allowed(schema["items"], item) for item in value)
    return not isinstance(value, dict) or allowed_object(schema, value)


def allowed_object(schema: dict[str, Any], value: dict[str, Any]) -> bool:
    known = schema.get("properties", {})
    rest = schema.get("additionalProperties", {})
    for key, child in value.items():
        if not re.search(schema.get("propertyNames", {}).get("pattern", ""), key):
            return False
        if key in known and known[key] is not False and not allowed(known[key], child):
            return False
        if known.get(key) is False or (key not in known and (rest is False or not allowed(rest, child))):
            return False
    for rule in schema.get("allOf", ()):
        if allowed_object(rule["if"], value) and not allowed_object(rule["then"], value):
            return False
    return all(key in value for key in schema.get("required", ()))


def test_every_value_is_described_and_every_table_closed() -> None:
    found = dict(nodes(json_schema()))
    assert len(found) > 50
    for where, schema in found.items():
        assert schema["description"].endswith((".", "all.")), where
        if "properties" in schema:
            assert schema["additionalProperties"] is False, where


def test_head_and_defaults() -> None:
    schema: Any = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["version", "install", "master_key", "boot_token", "door"]
    door = schema["properties"]["door"]["properties"]
    assert door["port"]["default"] == 7443
    assert door["max_connections"]["default"] == DoorConfig("", 0, Path(), Path(), Path()).max_connections
    limits = schema["properties"]["limits"]["properties"]
    assert {name: one["default"] for name, one in limits.items()} == {
        name: getattr(LimitsConfig(), name) for name in LimitsConfig.__slots__
    }


def test_it_is_json_and_its_patterns_compile() -> None:
    text = json.dumps(json_schema())
    assert json.loads(text) == json_schema()
    for _, schema in nodes(json_schema()):
        re.compile(schema.get("pattern", ""))


def test_it_takes_what_init_writes_and_refuses_what_the_reader_refuses(made: Path, minimal: str) -> None:
    schema: Any = json_schema()
    text = (made / "tlsrt.yaml").read_text()
    assert allowed(schema, yaml.safe_load(text))
    assert allowed(schema, yaml.safe_load(minimal))
    parse_config(minimal.encode(), Path("/x"))
    for extra in (
        "unknown: 1", "limits: {epoch_s: 1}", "measure: no-way", "policy: {third/io: '*'}", "loops: {X: {}}",
        "channels: {engine: zmq}",
        "components: {third/x: {class: 5}}", "loops: {third: {egress: [{to: ['192.0.2.7:443']}]}}",
        "loops: {third: {egress: [{to: [192.0.2.7], why: the archive}]}}",
        "components: {third/io: {needs: {write: [{path: pictures, why: they go there}]}}}",
    ):  # fmt: skip
        assert not allowed(schema, yaml.safe_load(minimal + extra)), extra
    for old, new in (("version: 2", "version: 3"), ("file, path", "credential, path"), ("boot_token", "boot")):
        assert not allowed(schema, yaml.safe_load(minimal.replace(old, new))), new


def test_init_writes_it_beside_the_configuration(made: Path) -> None:
    assert json.loads((made / "tlsrt.schema.json").read_text()) == json_schema()
    assert (made / "tlsrt.yaml").read_text().startswith("# yaml-language-server: $schema=tlsrt.schema.json\n")
