"""The settings of a configuration as Markdown, from the dataclasses that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tlsrt.config.schema import FILE
from tlsrt.config.setting import Setting, TableKey, keys_of
from tools.reference.markdown import code, table

HEAD = ("setting", "value", "default", "meaning")


def body() -> str:
    settings = _keys(FILE)
    alone = {name: key for name, key in settings.items() if not list(_below(name, key.setting))}
    parts = [table(HEAD, [_row(name, key) for name, key in alone.items()])]
    for name, key in settings.items():
        if name not in alone:
            rows = [_row(path, below) for path, below in _below(name, key.setting)]
            parts.append(f"## {name}\n\n{key.setting.about}\n\n{table(HEAD, rows)}")
    return "\n\n".join(parts)


def _keys(setting: Setting) -> Mapping[str, TableKey]:
    return keys_of(setting.table) if setting.table is not None else {}


def _below(path: str, setting: Setting) -> Iterator[tuple[str, TableKey]]:
    """Yield every setting below one, with its path; `NAME` stands for a key of a map, `[]` for an item of a list."""
    for name, key in _keys(setting).items():
        yield f"{path}.{name}", key
        yield from _below(f"{path}.{name}", key.setting)
    if setting.item is not None:
        yield from _below(f"{path}.NAME" if setting.kind == "map" else f"{path}[]", setting.item)


def _row(path: str, key: TableKey) -> tuple[str, str, str, str]:
    default = key.setting.default_says or ("" if key.default is None else _value(key.default))
    return code(path), _kind(key.setting), "required" if key.required else default, key.setting.about


def _value(default: object) -> str:
    return "none" if default in ([], {}, ()) else code(json.dumps(default, default=str))


def _kind(setting: Setting) -> str:
    """Return what a value may be, in words."""
    if setting.choices:
        text = ", ".join(code(choice) for choice in setting.choices)
    elif setting.kind in ("list", "map") and setting.item is not None:
        text = f"{setting.kind} of {_kind(setting.item)}"
    else:
        text = {"table": "settings", "free": "anything"}.get(setting.kind, setting.says or setting.kind)
    if setting.kind in ("integer", "number"):
        text += (f" ({setting.unit})" if setting.unit else "") + _bounds(setting)
    return text + (f", or {code(setting.word)}" if setting.word else "") + (", or null" if setting.nullable else "")


def _bounds(setting: Setting) -> str:
    least, most = (None if bound is None else f"{bound:.12g}" for bound in (setting.least, setting.most))
    if least is not None and most is not None:
        return f", {least} to {most}"
    return f", at least {least}" if least is not None else f", at most {most}" if most is not None else ""
