"""Quotas: so many things and bytes in all, charged to the subject that takes them. Pure.

Dynamic thresholds: one may hold as much as is still free. So a subject alone gets half, two that flood a third each,
and a later one always finds some.
"""

from __future__ import annotations


class Quotas:
    """What is taken, in all and by each subject."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._free = count_max
        self._bytes_free = bytes_max
        self._taken: dict[str, tuple[int, int]] = {}

    def take(self, subject: str, count: int, size: int) -> bool:
        """Charge so much to a subject; False, and nothing is charged, if it would hold more than is left for others."""
        held, held_bytes = self._taken.get(subject, (0, 0))
        if held + count > self._free or held_bytes + size > self._bytes_free:
            return False
        self._taken[subject] = held + count, held_bytes + size
        self._free -= count
        self._bytes_free -= size
        return True

    def give_back(self, subject: str, count: int, size: int) -> None:
        """End a charge."""
        held, held_bytes = self._taken.get(subject, (0, 0))
        self._free += count
        self._bytes_free += size
        if held == count and held_bytes == size:
            self._taken.pop(subject, None)
        else:
            self._taken[subject] = held - count, held_bytes - size
