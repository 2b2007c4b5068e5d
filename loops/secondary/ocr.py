"""Text in pictures, by rapidocr. Needs the extra `ai-ocr`.

A picture is decoded where its model runs: in a worker, without key, network and folder.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Protocol

from tlsrt import Component, InvalidArgument, Length, handler, worker_of
from tlsrt.loops.models.answers import PictureText
from tlsrt.loops.secondary.model_calls import Extra, ModelCalls, paced

DATA_BYTES = 200_000
UPLOAD_BYTES = 16 << 20
CALLS, CALLS_SHARE = 16, 4
EXTRA = Extra("ai-ocr", "reading text in pictures", "rapidocr", "onnxruntime", "numpy")


class Reader(Protocol):
    """The functions of the worker, tlsrt.loops.models.picture_text."""

    async def read(self, data: bytes) -> PictureText: ...


class Ocr(Component):
    """Reads text in pictures."""

    reader = worker_of("reader", Reader, idle="5m", cancel="200ms")

    async def start(self) -> None:
        self._calls = ModelCalls(self.address, CALLS, CALLS_SHARE)

    @handler(idempotent=True)
    async def read(self, picture: Annotated[bytes, Length(DATA_BYTES, 1)]) -> PictureText:
        """The lines of text in a picture (PNG, JPEG, WebP, BMP, GIF, TIFF): {lines, width, height, model}.

        A line has text, score (0 to 1), and its box: x, y, width, height in pixels.
        """
        EXTRA.expect()
        with self._calls.one(self.caller), self.time("read"):
            return await self.reader.read(picture)

    @handler
    async def read_upload(self, picture: AsyncIterator[bytes]) -> PictureText:
        """The lines of text in an upload of at most 16 MiB, as `read` gives them."""
        EXTRA.expect()
        with self._calls.one(self.caller):
            data = bytearray()
            async for piece in paced(picture):
                data += piece
                if len(data) > UPLOAD_BYTES:
                    raise InvalidArgument(f"picture: more than {UPLOAD_BYTES >> 20} MiB; make it smaller")
            if not data:
                raise InvalidArgument("picture: there is nothing in it")
            with self.time("read"):
                return await self.reader.read(bytes(data))
