"""Pictures of a camera in a call: those of third/camera, the newest one for who sees them. asyncio, PyAV.

One reads, and each who sees takes the newest at its own pace: a picture that none took in time is left out. What a
camera gives is data of another process: its size is looked at before it is decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import Any, NamedTuple

import av

from tlsrt import InvalidArgument

PICTURE_BYTES = 8 << 20  # of 1920 x 1080 as rgb24 there are 6 MB
SIDE_MAX = 1920
SENT_SIDES = (1280, 720)  # a larger one is made smaller
FORMATS = ("jpeg", "rgb24", "gray")
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a JPEG with the size (ITU T.81, table B.1)


class Picture(NamedTuple):
    """One picture as the camera gave it."""

    width: int
    height: int
    format: str
    data: bytes


class SeenPictures:
    """The newest picture, for one who sees. asyncio."""

    def __init__(self) -> None:
        self.lost = 0  # replaced by a newer one
        self._newest: Picture | None = None
        self._has_one = asyncio.Event()

    def put(self, picture: Picture) -> None:
        """Keep a picture in place of the one before."""
        self.lost += self._newest is not None
        self._newest = picture
        self._has_one.set()

    def clear(self) -> None:
        """Forget what was not seen."""
        self._newest = None
        self._has_one.clear()

    async def take(self) -> Picture:
        """Return the newest one, as soon as there is one."""
        while self._newest is None:
            await self._has_one.wait()
        picture, self._newest = self._newest, None
        self._has_one.clear()
        return picture


async def pictures_untrusted(items: AsyncIterable[Any]) -> AsyncIterable[Picture]:
    """Yield what a stream `frames` of a camera gives, put together of its parts. Raises InvalidArgument."""
    parts: list[bytes] = []
    async for item in items:
        if not isinstance(item, dict) or item.get("is_present") is False:
            parts.clear()
            continue
        data, part, count = item.get("data"), item.get("part", 0), item.get("parts", 1)
        width, height, format = item.get("width"), item.get("height"), item.get("format")
        if not (
            isinstance(data, bytes) and type(width) is int and type(height) is int and 0 < width <= SIDE_MAX
            and 0 < height <= SIDE_MAX and format in FORMATS and type(part) is int and type(count) is int
        ):  # fmt: skip
            raise InvalidArgument("the camera gives what is no frame of a picture")
        if part == 0:
            parts.clear()
        if part != len(parts):
            continue  # its beginning was left out
        parts.append(data)
        if sum(map(len, parts)) > PICTURE_BYTES:
            raise InvalidArgument(f"the camera gives a picture of more than {PICTURE_BYTES} bytes")
        if len(parts) == count:
            yield Picture(width, height, str(format), b"".join(parts))
            parts.clear()


def jpeg_size_untrusted(data: bytes) -> tuple[int, int]:
    """Return width and height that a JPEG says. Raises InvalidArgument for what says none."""
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _SIZES:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    raise InvalidArgument("the camera gives what is no JPEG")


class PictureDecoder:
    """Makes frames of pictures, for one who sees; runs in a thread."""

    def __init__(self) -> None:
        self._jpeg: Any = None

    def frame_untrusted(self, picture: Picture) -> av.VideoFrame:
        """Return a picture as a frame of at most SENT_SIDES. Raises InvalidArgument for what is no such picture."""
        width, height = picture.width, picture.height
        if picture.format != "jpeg":
            if len(picture.data) != width * height * (3 if picture.format == "rgb24" else 1):
                raise InvalidArgument("the camera gives a picture that has not the size that it says")
            frame = av.VideoFrame(width, height, picture.format)
            plane, row = frame.planes[0], len(picture.data) // height
            gap = bytes(plane.line_size - row)
            plane.update(b"".join(picture.data[at : at + row] + gap for at in range(0, len(picture.data), row)))
        else:
            if jpeg_size_untrusted(picture.data) != (width, height):
                raise InvalidArgument("the camera gives a picture that has not the size that it says")
            if self._jpeg is None:
                self._jpeg = av.CodecContext.create("mjpeg", "r")
            try:
                found = self._jpeg.decode(av.Packet(picture.data))
            except av.FFmpegError as error:
                raise InvalidArgument(f"a picture of the camera cannot be decoded: {error.strerror}") from None
            if not found or (found[0].width, found[0].height) != (width, height):
                raise InvalidArgument("a picture of the camera cannot be decoded")
            frame = found[0]
        ratio = min(1.0, SENT_SIDES[0] / width, SENT_SIDES[1] / height)
        sides = {} if ratio == 1.0 else {"width": int(width * ratio) & ~1 or 2, "height": int(height * ratio) & ~1 or 2}
        return frame.reformat(format="yuv420p", **sides)
