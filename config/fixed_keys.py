"""Which keys of two configurations differ: those that a reload refuses, and those that it takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tlsrt.config.schema import Config
from tlsrt.config.setting import keys_of

NAMED_MAX = 10  # keys in one sentence
_BY_NAME = {"clients"}  # each of them is compared on its own
_ELSEWHERE = {"loops", "components", "policy"}  # told by process, component and line


def fixed_keys(old: Config, new: Config) -> list[str]:
    """Return the keys of the configuration that differ and cannot change while tlsrt runs."""
    before, after = _fixed(old), _fixed(new)
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def taken_keys(old: Config, new: Config) -> list[str]:
    """Return the keys that differ and that a reload takes, but for loops, components and policy, in their order."""
    before, after = (dict(_keys(config, on_reload=True)) for config in (old, new))
    names = [*before, *(name for name in after if name not in before)]
    return [name for name in names if name not in _ELSEWHERE and before.get(name) != after.get(name)]


def fixed_keys_sentence(keys: Sequence[str]) -> str:
    """Return the sentence that refuses a reload for these keys."""
    more = f" and {len(keys) - NAMED_MAX} more" if len(keys) > NAMED_MAX else ""
    return (
        f"{', '.join(keys[:NAMED_MAX])}{more} cannot change while tlsrt runs, so nothing was changed: stop tlsrt and "
        "start it again (a reload takes loops, components, policy, sandbox.waive, collectors, door.console and the "
        "door's files)"
    )


def _fixed(config: Config) -> dict[str, Any]:
    """Return what a reload does not take, by the names of the file."""
    found = {name: value for name, value in _keys(config, on_reload=False) if name not in _BY_NAME}
    # The launcher has made the pid namespace by then, and the groups are those of the whole life.
    found |= {f"sandbox.waive.{layer}": layer in config.sandbox.waive for layer in ("pid_namespace", "cgroup")}
    found |= {f"clients.{client.name}": client for client in config.clients}
    return found


def _keys(table: Any, prefix: str = "", *, on_reload: bool) -> Iterator[tuple[str, Any]]:
    """Give each key that a reload takes, or takes not, with its value."""
    for name, key in keys_of(type(table)).items():
        full, value = f"{prefix}{name}", getattr(table, key.field)
        if key.setting.kind == "table" and value is not None:
            yield from _keys(value, f"{full}.", on_reload=on_reload)
        elif key.setting.on_reload is on_reload:
            yield full, value
