"""all-MiniLM-L6-v2 in numpy: the forward pass of a BERT with mean pooling (Devlin et al. 2018; Reimers 2019)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

TOKENS_MOST = 256  # that the model was trained with; the rest of a text is left out
Matrix: TypeAlias = npt.NDArray[np.float32]


def _gelu(values: Matrix) -> Matrix:
    """The usual approximation by tanh: a difference of 1e-3 at most."""
    inner = np.float32(0.79788456) * (values + np.float32(0.044715) * values * values * values)
    return np.asarray(0.5 * values * (1 + np.tanh(inner)), np.float32)


def _normalised(values: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    mean, variance = values.mean(-1, keepdims=True), values.var(-1, keepdims=True)
    return np.asarray((values - mean) / np.sqrt(variance + 1e-12) * weight + bias, np.float32)


class MiniLm:
    """The model in a folder with model.safetensors, tokenizer.json and config.json."""

    def __init__(self, folder: Path) -> None:
        self._weights: dict[str, Matrix] = load_file(str(folder / "model.safetensors"))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(TOKENS_MOST)
        self._tokenizer.no_padding()
        shape = json.loads((folder / "config.json").read_text())
        self._layers, self._heads = int(shape["num_hidden_layers"]), int(shape["num_attention_heads"])
        self._prefix = "" if "embeddings.word_embeddings.weight" in self._weights else "bert."

    def embed(self, texts: list[str]) -> Matrix:
        """Return a vector of length 1 for each text."""
        return np.stack([self._vector(text) for text in texts])

    def _linear(self, values: Matrix, name: str) -> Matrix:
        return np.asarray(values @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"], np.float32)

    def _norm(self, values: Matrix, name: str) -> Matrix:
        return _normalised(values, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _vector(self, text: str) -> Matrix:
        ids = np.array(self._tokenizer.encode(text).ids)
        place, weights = f"{self._prefix}embeddings.", self._weights
        values = (
            weights[f"{place}word_embeddings.weight"][ids]
            + weights[f"{place}position_embeddings.weight"][: len(ids)]
            + weights[f"{place}token_type_embeddings.weight"][0]
        )
        values = self._norm(np.asarray(values, np.float32), f"{place}LayerNorm")
        for number in range(self._layers):
            values = self._layer(values, f"{self._prefix}encoder.layer.{number}.")
        mean = values.mean(0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    def _layer(self, values: Matrix, name: str) -> Matrix:
        count, width = values.shape
        each = width // self._heads
        query, key, value = (
            self._linear(values, f"{name}attention.self.{part}").reshape(count, self._heads, each).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(each))
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        mixed = np.asarray((scores @ value).transpose(1, 0, 2).reshape(count, width), np.float32)
        values = self._norm(
            values + self._linear(mixed, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm"
        )
        hidden = _gelu(self._linear(values, f"{name}intermediate.dense"))
        return self._norm(values + self._linear(hidden, f"{name}output.dense"), f"{name}output.LayerNorm")
