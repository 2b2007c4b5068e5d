"""The worker of secondary/identify: magika, on onnxruntime, which counts the processors that it may use."""

from __future__ import annotations

from pathlib import Path

import magika as package
from magika import Magika

from tlsrt.loops.models.answers import Kind
from tlsrt.loops.models.identity import model_of
from tlsrt.worker import worker

magika = Magika()
model = model_of("magika", (Path(package.__file__).parent / "models").rglob("*.onnx"))


@worker
def identify(data: bytes) -> Kind:
    """Tell what kind of content this is."""
    found = magika.identify_bytes(data)
    what = found.output
    return Kind(str(what.label), what.mime_type, what.group, what.is_text, round(float(found.score), 4), model)
