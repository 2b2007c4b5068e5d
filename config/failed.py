"""Components that cannot run as they are: the host runs without them, and `status` says why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FailedComponent:
    """A component that cannot run as it is, and why; `name` is its address, or its file where that says none."""

    name: str
    problems: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Return the first thing that is wrong."""
        more = len(self.problems) - 1
        return f"{self.problems[0]}{f' (and {more} more)' if more else ''}"
