"""What the models answer: values that a worker sends and its component checks. No library of a model is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """Which model has answered: its package and version, and the SHA-256 of its files as they were loaded."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Kind:
    """What bytes are: a label of magika, a MIME type, a group such as `code`, and how sure the model is (0 to 1)."""

    label: str
    mime: str
    group: str
    is_text: bool
    score: float
    model: Model


@dataclass(frozen=True, slots=True)
class Voice:
    """How probable speech is (0 to 1) in the 32 ms of sound from `at_s` on."""

    at_s: float
    probability: float
    model: Model


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said between two times of the sound, and how sure the model is (0 to 1)."""

    start_s: float
    end_s: float
    text: str
    confidence: float
    model: Model


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of texts, one after the other: float16, little-endian, each of length 1."""

    data: bytes
    dimensions: int
    model: Model


@dataclass(frozen=True, slots=True)
class Nearest:
    """Ids of the nearest vectors, the nearest first, with the cosine of the angle to each."""

    ids: list[int]
    scores: list[float]
    model: Model


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in a picture: where its box begins, how large it is (pixels), and how sure the model is."""

    text: str
    x: int
    y: int
    width: int
    height: int
    score: float


@dataclass(frozen=True, slots=True)
class PictureText:
    """The lines of a picture from above to below, and its size in pixels."""

    lines: list[Line]
    width: int
    height: int
    model: Model
