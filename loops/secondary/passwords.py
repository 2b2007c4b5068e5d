"""Passwords of a pattern: `A` a capital letter, `a` a small one, `9` a digit, `*` any of these. Pure.

`!` is one of `!#%+-=?_.:`, `{n}` repeats the sign before it, a backslash makes the next sign stand for itself, and any
other sign stands for itself: `*{24}`, `Aaaa-9999-aaaa-9999`. One that is too easy to guess is refused.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Sequence
from typing import Final

from tlsrt import InvalidArgument

PATTERN_MOST: Final = 200  # characters of a pattern
LENGTH_MOST: Final = 512  # of a password
BITS_LEAST: Final = 64
CLASSES: Final = {
    "A": string.ascii_uppercase,
    "a": string.ascii_lowercase,
    "9": string.digits,
    "*": string.ascii_letters + string.digits,
    "!": "!#%+-=?_.:",
}
_SIGN = re.compile(r"(\\.|[^\\{}])(?:\{(\d{1,3})\})?", re.DOTALL)


def parse_pattern(pattern: str) -> list[str]:
    """Return for each sign of a password what it may be. Raises InvalidArgument."""
    found: list[str] = []
    at = 0
    while at < len(pattern):
        sign = _SIGN.match(pattern, at)
        if sign is None:
            raise InvalidArgument(
                f"password: sign {at + 1} of the pattern is a lone brace or backslash; write \\ before it"
            )
        letter = sign[1]
        choices = CLASSES.get(letter) or letter[-1]
        found += [choices] * (1 if sign[2] is None else int(sign[2]))
        at = sign.end()
        if len(found) > LENGTH_MOST:
            raise InvalidArgument(f"password: the pattern gives more than {LENGTH_MOST} signs")
    bits = sum(math.log2(len(choices)) for choices in found)
    if bits < BITS_LEAST:
        raise InvalidArgument(
            f"password: the pattern gives {int(bits)} bits to guess, at least {BITS_LEAST} are needed; *{{24}} has 142"
        )
    return found


def make_password(pattern: str, choice: Callable[[Sequence[str]], str]) -> str:
    """Return a password; `choice` is that of `secrets`. Raises InvalidArgument."""
    return "".join(choice(choices) for choices in parse_pattern(pattern))
