"""Replies: seals and sends what a request is answered by, alone or in a frame with others of this turn. asyncio."""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.calls.batching import ANSWER_DEADLINE_MS, Batcher
from tlsrt.channels.frames.body import encode_error
from tlsrt.channels.frames.frame import BATCH_FRAME_MAX, FrameKind, Header, correlation, names_of
from tlsrt.channels.links.channel import FrameSender
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.errors import Busy, CallError, Unavailable
from tlsrt.loops.dispatch.in_flight import InFlight, RunningCall


class Replies:
    """The replies of one component. `in_flight` is charged for those that wait for room in the queue."""

    def __init__(
        self, endpoint: Endpoint, channel: FrameSender, clock: Callable[[], int], in_flight: InFlight,
        batcher: Batcher | None,
    ) -> None:  # fmt: skip
        self._endpoint = endpoint
        self._channel = channel
        self._send = channel.send
        self._clock = clock
        self._in_flight = in_flight
        self._batcher = batcher

    def send(self, request: RunningCall, kind: FrameKind, body: bytes) -> None:
        """Seal and send now. Wait for a full queue in a task, as far as the quota of its caller goes."""
        try:
            self._send(self._sealed(request, kind, body, 0, 0))
        except Busy:
            self._wait(request, kind, body)
        except Unavailable:
            return

    def send_alone(self, request: Header, kind: FrameKind, body: bytes) -> None:
        """Do the same for a REQUEST that has ended already; it is not counted as measured."""
        name = correlation(request.session, request.seq)
        try:
            deadline = self._clock() + ANSWER_DEADLINE_MS
            self._send(self._endpoint.seal_reply(kind, request, body, deadline, correlation=name))
        except Busy:
            self._wait(RunningCall(name, request), kind, body)
        except Unavailable:
            return

    def _wait(self, request: RunningCall, kind: FrameKind, body: bytes) -> None:
        if self._in_flight.quotas.take(request.header.src, 1, len(body)):  # else: the caller meets its deadline
            request.size = len(body)
            self._in_flight.spawn(request, self.send_in_time(request, kind, body), None)

    async def send_in_time(
        self, request: RunningCall, kind: FrameKind, body: bytes, *, part: int = 0, flags: int = 0
    ) -> None:
        """Seal and send. Wait while the queue is full; a channel that is down drops it: its caller has been told."""
        if self.add_to_bundle(request, kind, body):
            return
        while not self._is_sent(request, kind, body, part, flags):
            await self._channel.wait_for_room()

    def _is_sent(self, request: RunningCall, kind: FrameKind, body: bytes, part: int, flags: int) -> bool:
        """Seal and send; False while the queue is full.

        Who waits must not do so in the handler of that error: its traceback has the sealed frame, a second body.
        """
        try:
            self._send(self._sealed(request, kind, body, part, flags))
        except Busy:
            return False
        except Unavailable:
            return True
        return True

    def send_or_drop(self, request: RunningCall, kind: FrameKind, body: bytes) -> None:
        """Seal and send now, if there is room: else the caller meets its deadline."""
        try:
            self._send(self._sealed(request, kind, body, 0, 0))
        except CallError:
            return

    def refuse(self, header: Header, error: CallError) -> None:
        """Answer the requests of an authentic frame by an error, unread."""
        if header.kind in (FrameKind.REQUEST, FrameKind.REQUESTS):
            for name in names_of(header):
                self.send_or_drop(RunningCall(name, header), FrameKind.ERROR, encode_error(error))

    def add_to_bundle(self, request: RunningCall, kind: FrameKind, body: bytes) -> bool:
        """Leave a reply to a request of a bundle to the batcher. It may share a frame with others of this turn."""
        if self._batcher is None or kind != FrameKind.REPLY or request.header.kind != FrameKind.REQUESTS:
            return False
        if len(body) > BATCH_FRAME_MAX:
            return False
        self._batcher.reply(self, request.header, request.name, body)
        return True

    def on_unsent_replies(self, request: Header, names: list[bytes], bodies: list[bytes], error: CallError) -> None:
        """Send each for itself, once there is room in the queue, as in `send_in_time`."""
        if isinstance(error, Busy):
            for name, body in zip(names, bodies, strict=True):
                self.send(RunningCall(name, request._replace(kind=FrameKind.REQUEST)), FrameKind.REPLY, body)

    def _sealed(self, request: RunningCall, kind: FrameKind, body: bytes, part: int, flags: int) -> bytes:
        return self._endpoint.seal_reply(
            kind, request.header, body, self._clock() + ANSWER_DEADLINE_MS, correlation=request.name, part=part,
            flags=flags,
        )  # fmt: skip
