"""What secondary/search answers."""

from __future__ import annotations

from dataclasses import dataclass

from tlsrt.loops.models.answers import Model


@dataclass(frozen=True, slots=True)
class Embedded:
    """A vector of length 1 for each text."""

    vectors: list[list[float]]
    model: Model


@dataclass(frozen=True, slots=True)
class AddedSource:
    """How many passages a source has now, and whether it has taken the place of another one."""

    passages: int
    replaced: bool
    model: Model


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage: of which source, added when (wall ms) and by whom, from which character on, and how near it is.

    `author` is empty where it is not known.
    """

    source: str
    kind: str
    at_ms: int
    author: str
    start: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, the nearest first; `outdated` passages were not searched, as another model has made their vectors."""

    hits: list[Hit]
    model: Model
    outdated: int
