"""The worker of Speech: faster-whisper, as it comes, with the model that the manifest lets it read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import faster_whisper
import numpy as np

from tlsrt.worker import worker
from tlsrt_ai.speech import Text

model = faster_whisper.WhisperModel(os.environ["WHISPER_MODEL"], device="cpu", compute_type="float32")


@worker
def transcribe(audio: Iterator[bytes]) -> Text:
    began = time.perf_counter()
    sound = np.frombuffer(b"".join(audio), "<i2").astype("float32") / 32768
    parts, _ = model.transcribe(sound, beam_size=1, language="en")
    text = "".join(part.text for part in parts).strip()
    return Text(text, len(sound) / 16_000, round(time.perf_counter() - began, 2))
