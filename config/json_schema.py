"""The table of fields as a JSON Schema (draft 2020-12), so that editors complete and check a configuration."""

from __future__ import annotations

from typing import Any

from tlsrt.config.field import Field
from tlsrt.config.fields import FILE

_TYPES = {"text": "string", "path": "string", "integer": "integer", "number": "number", "boolean": "boolean"}


def json_schema() -> dict[str, object]:
    """Return the schema of tlsrt.yaml as plain values for json.dumps."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "tlsrt.yaml"}
    return {**head, **_schema(FILE)}


def _schema(field: Field) -> dict[str, Any]:
    bare: dict[str, Any] = _bare(field)
    if field.word:
        bare = {"anyOf": [{"const": field.word}, bare]}
    if field.nullable:
        bare = {"anyOf": [bare, {"type": "null"}]}
    if field.default is not None:
        bare["default"] = field.default
    return {"description": field.about, **bare}


def _bare(field: Field) -> dict[str, Any]:
    if field.kind == "table":
        return _table(field)
    if field.kind == "map":
        assert field.item is not None
        keys = {"pattern": f"^(?:{field.pattern})$"}
        return {"type": "object", "propertyNames": keys, "additionalProperties": _schema(field.item)} | _bounds(
            field, "minProperties", "maxProperties"
        )
    if field.kind == "list":
        assert field.item is not None
        return {"type": "array", "items": _schema(field.item)} | _bounds(field, "minItems", "maxItems")
    return {} if field.kind == "free" else _scalar(field)


def _scalar(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _TYPES[field.kind]}
    if field.choices:
        schema["enum"] = list(field.choices)
    if field.pattern:
        schema["pattern"] = f"^(?:{field.pattern})$"
    names = ("minLength", "maxLength") if field.kind in ("text", "path") else ("minimum", "maximum")
    return schema | _bounds(field, *names)


def _table(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _schema(child) for name, child in field.fields.items()},
        "additionalProperties": False,
    }
    required = [name for name, child in field.fields.items() if child.required]
    if required:
        schema["required"] = required
    if field.switch:
        schema["allOf"] = [
            {
                "if": {"properties": {field.switch: {"const": chosen}}, "required": [field.switch]},
                "then": {"required": [wanted], "properties": {o: False for o in field.needs.values() if o != wanted}},
            }
            for chosen, wanted in field.needs.items()
        ]
    return schema


def _bounds(field: Field, least: str, most: str) -> dict[str, Any]:
    both = {least: field.least, most: field.most}
    return {name: limit for name, limit in both.items() if limit is not None}
