"""A component's own options in the YAML, with errors that an operator understands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tlsrt.errors import ConfigError
from tlsrt.loops.component.method import nearest


def known_options(address: str, options: Mapping[str, object], known: Sequence[str]) -> None:
    """Refuse an option that the component does not have; ConfigError names the nearest one."""
    for name in options:
        if name not in known:
            guess = nearest(name, known)
            hint = f"did you mean {guess}?" if guess else f"it has: {', '.join(known)}"
            raise ConfigError(f"{address}: unknown option {name}, {hint}")


def whole_option(address: str, options: Mapping[str, object], name: str, default: int, low: int, high: int) -> int:
    """Return a whole number between `low` and `high` from the options; ConfigError says what is wrong."""
    value = options.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{address}: option {name} must be a whole number from {low} to {high}")
    return value


def choice_option(address: str, options: Mapping[str, object], name: str, choices: Sequence[str]) -> str:
    """Return one of the choices, the first by default; ConfigError says what is wrong."""
    value = options.get(name, choices[0])
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{address}: option {name} must be one of: {', '.join(choices)}")
    return value
