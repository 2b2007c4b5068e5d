"""The worker of secondary/ocr: PP-OCR of rapidocr, on onnxruntime, with its weights from the package."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import rapidocr as package
from PIL import Image
from rapidocr import RapidOCR

from tlsrt import InvalidArgument
from tlsrt.loops.models.answers import Line, PictureText
from tlsrt.loops.models.identity import model_of
from tlsrt.worker import worker

PIXELS = 40_000_000  # decoded, 120 MB
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
LINES, CHARACTERS = 2000, 1000  # of one picture, and of one line

_threads = {f"EngineConfig.onnxruntime.{name}_op_num_threads": 1 for name in ("intra", "inter")}
engine = RapidOCR(params={"Global.log_level": "critical", **_threads})
model = model_of("rapidocr", (Path(package.__file__).parent / "models").rglob("*.onnx"))


@worker
def read(data: bytes) -> PictureText:
    """Find lines of text in a picture."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > PIXELS:
                raise InvalidArgument(f"picture: {width} x {height} pixels, where {PIXELS} are the most")
            pixels = np.asarray(picture.convert("RGB"))[:, :, ::-1]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidArgument(f"picture: it is none of {', '.join(FORMATS)}, or broken: {error}") from None
    found: Any = engine(np.ascontiguousarray(pixels))
    if found.txts is None:
        return PictureText([], width, height, model)
    rows = zip(found.boxes, found.txts, found.scores, strict=True)
    return PictureText([_line(*row) for row in rows][:LINES], width, height, model)


def _line(corners: Any, text: str, score: float) -> Line:
    """Return a line with the box around its four corners, which may be turned."""
    across, down = ([round(float(one[axis])) for one in corners] for axis in (0, 1))
    x, y = min(across), min(down)
    return Line(text[:CHARACTERS], x, y, max(across) - x, max(down) - y, round(float(score), 4))
