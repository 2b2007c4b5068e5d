"""A Whisper model of random weights, some 2 MB, in the form of ctranslate2: it hears nothing, and does all the work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WIDTH, HEADS, LAYERS = 64, 2, 2
MEL_BINS, SECONDS_STEPS, TEXT_STEPS = 80, 1500, 448  # as those of every Whisper model
LONGEST_S = 30


def write_whisper_model(folder: Path) -> None:
    """Write model.bin, its configuration, vocabulary and tokenizer into a folder."""
    import numpy as np
    from ctranslate2.specs import whisper_spec

    tokens = _write_tokenizer(folder / "tokenizer.json")
    random = np.random.default_rng(1)

    def weights(*shape: int) -> Any:
        return (random.standard_normal(shape) / shape[-1] ** 0.5).astype("float32")

    def linear(spec: Any, outputs: int, inputs: int) -> None:
        spec.weight, spec.bias = weights(outputs, inputs), weights(outputs)

    def norm(spec: Any) -> None:
        spec.gamma, spec.beta = np.ones(WIDTH, "float32"), np.zeros(WIDTH, "float32")

    def attention(spec: Any, *outputs: int) -> None:
        norm(spec.layer_norm)
        for one, size in zip(spec.linear, outputs, strict=True):
            linear(one, size, WIDTH)

    def feed_forward(spec: Any) -> None:
        norm(spec.layer_norm)
        linear(spec.linear_0, 4 * WIDTH, WIDTH)
        linear(spec.linear_1, WIDTH, 4 * WIDTH)

    model = whisper_spec.WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    encoder, decoder = model.encoder, model.decoder
    encoder.conv1.weight, encoder.conv1.bias = weights(WIDTH, MEL_BINS, 3), weights(WIDTH)
    encoder.conv2.weight, encoder.conv2.bias = weights(WIDTH, WIDTH, 3), weights(WIDTH)
    encoder.position_encodings.encodings = weights(SECONDS_STEPS, WIDTH)
    decoder.position_encodings.encodings = weights(TEXT_STEPS, WIDTH)
    decoder.embeddings.weight = weights(len(tokens), WIDTH)
    decoder.projection.weight = decoder.embeddings.weight
    for half in (encoder, decoder):
        norm(half.layer_norm)
        for layer in half.layer:
            attention(layer.self_attention, 3 * WIDTH, WIDTH)
            if half is decoder:
                attention(layer.attention, WIDTH, 2 * WIDTH, WIDTH)
            feed_forward(layer.ffn)
    model.config.suppress_ids, model.config.suppress_ids_begin, model.config.lang_ids = [], [], []
    model.config.alignment_heads = [[LAYERS - 1, 0]]
    model.register_vocabulary(tokens)
    model.validate()
    model.save(str(folder))


def _write_tokenizer(path: Path) -> list[str]:
    """Write a tokenizer of single bytes; return its tokens in the order of their numbers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
               "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]  # fmt: skip
    times = [f"<|{step * LONGEST_S / SECONDS_STEPS:.2f}|>" for step in range(SECONDS_STEPS + 1)]
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*special, *times])
    tokenizer.save(str(path))
    vocabulary = json.loads(path.read_text())["added_tokens"]
    assert [one["id"] for one in vocabulary] == [*range(len(letters), len(letters) + len(special) + len(times))]
    return [*letters, *special, *times]
