"""The lines of `client add --allow`: `secondary/store: [get, put]`, as in the policy of the configuration. Pure."""

from __future__ import annotations

import re

from tlsrt.errors import ConfigError

TEXT_MAX = 8192
_WORD = r"(?:\*|[A-Za-z_][A-Za-z0-9_]{0,63})"
_QUOTED = rf"(?:{_WORD}|\"{_WORD}\"|'{_WORD}')"
_SIDE = r"(?:\*|[a-z][a-z0-9_]{0,30})"
_LINE = re.compile(
    rf"\s*({_SIDE}/{_SIDE})\s*:\s*(?:({_QUOTED})|\[\s*({_QUOTED}(?:\s*,\s*{_QUOTED})*)\s*,?\s*\])\s*"
)  # fmt: skip

Rule = tuple[str, tuple[str, ...]]  # target, methods


def parse_allow(text: str) -> Rule:
    """Return the target and the methods of a line; raise ConfigError for anything else."""
    match = _LINE.fullmatch(text) if len(text) <= TEXT_MAX else None
    if match is None:
        raise ConfigError(
            f"--allow {text[:80]!r} is no rule: write 'secondary/store: [get, put]', or 'secondary/store: *'"
        )
    words = (match[2] or match[3]).split(",")
    return match[1], tuple(word.strip().strip("\"'") for word in words)
