"""Streams of one component: items to a reader, and parts of an upload from a caller, as the other end gives credit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tlsrt.channels.frames.body import encode_error, encode_value, pack_value
from tlsrt.channels.frames.frame import FLAG_FINAL, FrameKind
from tlsrt.errors import Cancelled
from tlsrt.loops.dispatch.in_flight import InFlight, RunningCall
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.dispatch.replies import Replies
from tlsrt.loops.dispatch.told_errors import ToldErrors


class Streams:
    """Runs the streams and reads the uploads of one component."""

    def __init__(
        self, subject: str, shares: ProcessorShares, replies: Replies, errors: ToldErrors, in_flight: InFlight
    ) -> None:
        self._subject = subject
        self._shares = shares
        self._replies = replies
        self._errors = errors
        self._in_flight = in_flight
        self._is_stopping = False

    def stop(self) -> None:
        """Tell the readers of streams that are cancelled from now on that the component stops."""
        self._is_stopping = True

    async def run(self, request: RunningCall, items: Any) -> None:
        """Send the items of a generator as its reader gives credit for them, and close it."""
        assert request.credit is not None
        src, session = request.header.src, request.header.session
        part = 0
        try:
            while True:
                if self._shares.must_wait(src):
                    await self._shares.turn(src, session, is_first=not part)
                try:
                    item = await self._shares.metered(src, session, items.__anext__())
                except StopAsyncIteration:
                    break
                await request.credit.take()
                await self._replies.send_in_time(request, FrameKind.ITEM, pack_value(item), part=part)
                part += 1
            await self._replies.send_in_time(request, FrameKind.ITEM, b"", part=part, flags=FLAG_FINAL)
        except BaseException as error:
            if request.is_stopped and isinstance(error, asyncio.CancelledError):
                if self._is_stopping:
                    self._replies.send_or_drop(
                        request, FrameKind.ERROR, encode_error(Cancelled(f"{self._subject} is stopping"))
                    )
                raise
            await self._replies.send_in_time(request, FrameKind.ERROR, self._errors.of_begun(request, error))
        finally:
            await self._close(request, items)

    async def parts(self, request: RunningCall) -> AsyncIterator[bytes]:
        """Give the parts of the upload of a request, and credit as it is consumed."""
        assert request.upload is not None
        while True:
            try:
                part = await request.upload.get()
            except StopAsyncIteration:
                return
            if request.size >= 0:
                self._in_flight.quotas.give_back(request.header.src, 0, len(part))
                request.size -= len(part)
            due = request.upload.credit_due()
            if due:
                await self._replies.send_in_time(request, FrameKind.ALLOW, encode_value(due))
            yield part

    async def _close(self, request: RunningCall, items: Any) -> None:
        """End a stream's generator. Its reader has been told how it ended, whatever that raises now."""
        try:
            await items.aclose()
        except BaseException as error:
            if request.is_stopped and isinstance(error, asyncio.CancelledError):
                raise
            self._errors.note(request.header, error)
