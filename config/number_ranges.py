"""Whole numbers in ranges: the values that a grant allows. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Values:
    """The numbers that may be written: single ones, and ranges with both ends."""

    ranges: tuple[tuple[int, int], ...]

    def has(self, value: int) -> bool:
        """Say whether this number is one of them."""
        return any(low <= value <= high for low, high in self.ranges)

    def __str__(self) -> str:
        return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in self.ranges)


def parse_values(value: str) -> Values:
    """Return the numbers of a text such as `0-100` or `0, 1, 5-9`. Raises ValueError with a sentence."""
    found: list[tuple[int, int]] = []
    for piece in value.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,19})(?:\s*-\s*([0-9]{1,19}))?\s*", piece)
        if match is None:
            raise ValueError(f"values must be numbers and ranges such as `0-100` or `0, 1`, not {value}")
        low = int(match[1])
        high = int(match[2]) if match[2] is not None else low
        if not low <= high <= MOST:
            raise ValueError(f"values: {piece.strip()} is no range, since it must rise and end below 2^63")
        found.append((low, high))
    return Values(tuple(found))
