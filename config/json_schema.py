"""The settings as a JSON Schema (draft 2020-12), for editors."""

from __future__ import annotations

from typing import Any

from tlsrt.config.schema import FILE
from tlsrt.config.setting import Setting, keys_of

_TYPES = {"text": "string", "path": "string", "integer": "integer", "number": "number", "boolean": "boolean"}


def json_schema(setting: Setting = FILE, title: str = "tlsrt.yaml") -> dict[str, object]:
    """Return the schema of a file, by default of a configuration, as plain values for json.dumps."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_schema(setting)}


def _schema(setting: Setting, default: object = None) -> dict[str, Any]:
    bare: dict[str, Any] = _bare(setting)
    if setting.word:
        bare = {"anyOf": [{"const": setting.word}, bare]}
    if setting.nullable:
        bare = {"anyOf": [bare, {"type": "null"}]}
    if default not in (None, ""):
        bare["default"] = default
    return {"description": setting.sentences, **bare}


def _bare(setting: Setting) -> dict[str, Any]:
    if setting.kind == "table" and setting.short:
        assert setting.table is not None
        return {"anyOf": [_bare(keys_of(setting.table)[setting.short].setting), _table(setting)]}
    if setting.kind == "table":
        return _table(setting)
    if setting.kind == "map":
        assert setting.item is not None
        keys = {"pattern": f"^(?:{setting.pattern})$"}
        return {"type": "object", "propertyNames": keys, "additionalProperties": _schema(setting.item)} | _bounds(
            setting, "minProperties", "maxProperties"
        )
    if setting.kind == "list":
        assert setting.item is not None
        return {"type": "array", "items": _schema(setting.item)} | _bounds(setting, "minItems", "maxItems")
    return {} if setting.kind == "free" else _scalar(setting)


def _scalar(setting: Setting) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _TYPES[setting.kind]}
    if setting.choices:
        schema["enum"] = list(setting.choices)
    if setting.pattern:
        schema["pattern"] = f"^(?:{setting.pattern})$"
    names = ("minLength", "maxLength") if setting.kind in ("text", "path") else ("minimum", "maximum")
    return schema | _bounds(setting, *names)


def _table(setting: Setting) -> dict[str, Any]:
    assert setting.table is not None
    keys = keys_of(setting.table)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _schema(key.setting, key.default) for name, key in keys.items()},
        "additionalProperties": False,
    }
    required = [name for name, key in keys.items() if key.required]
    if required:
        schema["required"] = required
    if setting.switch:
        schema["allOf"] = [
            {
                "if": {"properties": {setting.switch: {"const": chosen}}, "required": [setting.switch]},
                "then": {"required": [wanted], "properties": {o: False for o in setting.needs.values() if o != wanted}},
            }
            for chosen, wanted in setting.needs.items()
        ]
    return schema


def _bounds(setting: Setting, least: str, most: str) -> dict[str, Any]:
    both = {least: setting.least, most: setting.most}
    return {name: limit for name, limit in both.items() if limit is not None}
