"""The keys of a configuration that cannot change while tlsrt runs: a reload that changes one is refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tlsrt.config.schema import Config
from tlsrt.config.setting import keys_of

NAMED_MAX = 10  # keys in one sentence
_BY_NAME = {"clients"}  # each of them is compared on its own


def fixed_keys(old: Config, new: Config) -> list[str]:
    """Return the keys of the configuration that differ and cannot change while tlsrt runs."""
    before, after = _fixed(old), _fixed(new)
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def fixed_keys_sentence(keys: Sequence[str]) -> str:
    """Return the sentence that refuses a reload for these keys."""
    more = f" and {len(keys) - NAMED_MAX} more" if len(keys) > NAMED_MAX else ""
    return (
        f"{', '.join(keys[:NAMED_MAX])}{more} cannot change while tlsrt runs, so nothing was changed: stop tlsrt and "
        "start it again (a reload takes loops, components, policy, sandbox.waive, collectors and the door's files)"
    )


def _fixed(config: Config) -> dict[str, Any]:
    """Return what a reload does not take, by the names of the file."""
    found = dict(_fixed_keys(config))
    # The launcher has made the pid namespace by then, and the groups are those of the whole life.
    found |= {f"sandbox.waive.{layer}": layer in config.sandbox.waive for layer in ("pid_namespace", "cgroup")}
    found |= {f"clients.{client.name}": client for client in config.clients}
    return found


def _fixed_keys(table: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, key in keys_of(type(table)).items():
        full, value = f"{prefix}{name}", getattr(table, key.field)
        if key.setting.kind == "table" and value is not None:
            yield from _fixed_keys(value, f"{full}.")
        elif not key.setting.on_reload and full not in _BY_NAME:
            yield full, value
