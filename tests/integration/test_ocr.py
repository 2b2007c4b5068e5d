"""secondary/ocr with the weights of its package, in the full sandbox: text in pictures, and pictures that attack."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.language_model import brought
from hosts.running_host import RunningHost, running
from tools.extras import need_extra

from tlsrt import Denied, InvalidArgument

OCR = "secondary/ocr"
WAIT_S = 100.0
pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    need_extra("ai-ocr", "rapidocr")
    policy = {f"client/admin -> {OCR}": "*"}
    yield from running(request, clients=["guest"], components={OCR: brought(OCR)}, policy=policy)


def picture(*lines: str, kind: str = "PNG") -> bytes:
    """Return a picture of lines of text."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (480, 60 * len(lines) + 20), "white")
    drawing, font = ImageDraw.Draw(image), ImageFont.load_default(32)
    for at, line in enumerate(lines):
        drawing.text((20, 60 * at + 10), line, fill="black", font=font)
    kept = io.BytesIO()
    image.save(kept, kind)
    return kept.getvalue()


def worker(host: RunningHost) -> dict[str, Any]:
    (entry,) = host.loop("secondary.ocr")["programs"]
    return dict(entry)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_text_in_a_picture_is_read_with_its_place_and_model(host: RunningHost, kind: str) -> None:
    data = picture("The bins are emptied", "on Tuesday at 7:30", kind=kind)
    client = host.client()
    found = client.call(OCR, "read", data, timeout_s=WAIT_S)
    assert [one["text"] for one in found["lines"]] == ["The bins are emptied", "on Tuesday at 7:30"]
    assert (found["width"], found["height"]) == (480, 140)
    first, second = found["lines"]
    assert first["y"] < second["y"] and 0 < first["x"] < 40 and first["width"] > 200
    assert found["model"]["name"] == "rapidocr" and len(found["model"]["sha256"]) == 64
    assert client.upload(OCR, "read_upload", data, timeout_s=WAIT_S)["lines"] == found["lines"]
    assert host.loop("secondary.ocr")["violations"] == 0


def bomb(width: int, height: int) -> bytes:
    """Return a PNG that says it has so many pixels, with the data of one."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0\0\0")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"no picture at all", "it is none of PNG"), (bomb(60_000, 60_000), "picture"),
        (bomb(9000, 9000), "are the most"),
        (bomb(100, 100), "broken"), (b"\xff\xd8\xff\xe0" + b"\0" * 50, "it is none of PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is none of PNG"),
    ],
)  # fmt: skip
def test_what_is_no_picture_or_a_bomb_is_one_sentence(host: RunningHost, data: bytes, sentence: str) -> None:
    before = worker(host)["begun"]
    with pytest.raises(InvalidArgument, match=sentence):
        host.client().call(OCR, "read", data, timeout_s=WAIT_S)
    assert before <= 1 and worker(host)["begun"] == 1, "its process is still there"


def test_a_picture_without_text_has_no_lines_and_one_that_is_too_long_is_refused(host: RunningHost) -> None:
    client = host.client()
    assert client.call(OCR, "read", picture(""), timeout_s=WAIT_S)["lines"] == []
    with pytest.raises(InvalidArgument, match="more than 16 MiB"):
        client.upload(OCR, "read_upload", (b"\0" * (1 << 20) for _ in range(17)), timeout_s=WAIT_S)
    with host.client("guest") as guest, pytest.raises(Denied):
        guest.call(OCR, "read", picture("secret"))
