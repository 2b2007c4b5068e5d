"""A type that a component and its worker share, without what the worker imports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    label: str
    score: float
