"""What kind of content bytes and files are, by magika. Needs the extra `ai`.

The model runs in a worker, without key, network and folder. It looks at the beginning and end of a file alone, so of an
upload these are kept and nothing else, however long it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Annotated, Protocol

from tlsrt import Component, InvalidArgument, Length, Range, handler, worker_of
from tlsrt.loops.models.answers import Kind
from tlsrt.loops.secondary.model_calls import Extra, ModelCalls, paced

DATA_BYTES = 200_000
KEPT_BYTES = 64 << 10  # of the beginning and of the end: magika reads 4 KiB of each
CALLS, CALLS_SHARE = 64, 16
EXTRA = Extra("ai", "identifying content", "magika", "onnxruntime", "numpy")


class Magika(Protocol):
    """The functions of the worker, tlsrt.loops.models.file_kinds."""

    async def identify(self, data: bytes) -> Kind: ...


class Identify(Component):
    """Says what content is."""

    @dataclasses.dataclass(frozen=True)
    class Options:
        """Options: how long an upload may be."""

        upload_mb: Annotated[int, Range(1, 1 << 20), "MiB of an upload, which is read to its end."] = 4096

    magika = worker_of("magika", Magika, idle="5m", cancel="200ms")

    async def start(self) -> None:
        self._calls = ModelCalls(self.address, CALLS, CALLS_SHARE)

    @handler(idempotent=True)
    async def identify(self, data: Annotated[bytes, Length(DATA_BYTES)]) -> Kind:
        """What kind of content this is: {label, mime, group, is_text, score, model}; at most 200,000 bytes."""
        EXTRA.expect()
        with self._calls.one(self.caller):
            found = await self.magika.identify(data)
        self.count("identified")
        return found

    @handler
    async def identify_upload(self, content: AsyncIterator[bytes]) -> Kind:
        """What kind of content an upload of any length is, as `identify` says it."""
        EXTRA.expect()
        with self._calls.one(self.caller):
            head, tail, size = bytearray(), bytearray(), 0
            async for piece in paced(content):
                size += len(piece)
                if size > self.options.upload_mb << 20:
                    raise InvalidArgument(f"content: more than the {self.options.upload_mb} MiB that upload_mb allows")
                room = KEPT_BYTES - len(head)
                head += piece[:room]
                tail += piece[max(0, room) :]
                del tail[:-KEPT_BYTES]
            found = await self.magika.identify(bytes(head + tail))
        self.count("identified")
        return found
