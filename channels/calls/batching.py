"""Batching: requests of one turn that are alike share a frame, and so do replies to one caller.

Theory of operation. Sealing costs the same for one request and for 32 that are sealed together: two AES-GCM calls
here, one at the gate, one at the recipient, and one header to build and to read. So requests of one turn of the event
loop to the same method with the same deadline become one REQUESTS frame, and the replies to such a frame REPLIES
frames; what is alone travels as an ordinary frame. Nothing waits longer than to the end of the turn, and the first
call of an idle component does not wait at all (see `Caller`). Every request in a bundle is a call of its own: the
gate opens and ends each, the recipient answers each.

A request takes its number when it is put in here, because its caller waits for that number. Numbers of a bundle have
no gap and frames leave in the order of their numbers, so whatever else the endpoint seals first releases the bundle.
A full bundle leaves with the next request or at the end of the turn, and not with its last: that one is an open call
only when its number is known, and a call that is not open when its frame leaves would be taken for unsent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tlsrt.channels.frames.frame import BATCH_FRAME_MAX, BUNDLE_BYTES_MAX, BUNDLE_MAX, Header
from tlsrt.channels.frames.structure import CONTAINERS_MAX, heads
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.errors import CallError

ANSWER_DEADLINE_MS = 30_000
Alike = tuple[str, str, int, int, bytes]


class RequestOwner(Protocol):
    """Whose requests are in a bundle."""

    def on_sealed(self, numbers: range, frame: bytes) -> None:
        """The requests with these numbers are in this frame."""

    def on_unsent(self, numbers: range, error: CallError) -> None:
        """These requests could not be sent."""


class ReplyOwner(Protocol):
    """Whose replies are in a bundle."""

    def on_unsent_replies(self, request: Header, names: list[bytes], bodies: list[bytes], error: CallError) -> None:
        """These replies could not be sent."""


class _Bundle:
    """Bodies that will share one frame."""

    __slots__ = ("bodies", "heads", "size")

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.size = 0
        self.heads = 1  # lists and maps that it may hold, itself among them

    def takes(self, body: bytes, parts: int) -> bool:
        return (
            len(self.bodies) < BUNDLE_MAX
            and self.size + len(body) <= BUNDLE_BYTES_MAX
            and self.heads + parts <= CONTAINERS_MAX
        )

    def add(self, body: bytes, parts: int) -> None:
        self.bodies.append(body)
        self.size += len(body)
        self.heads += parts


class _Requests(_Bundle):
    """Requests, with the number of the first."""

    __slots__ = ("alike", "first", "owner")

    def __init__(self, owner: RequestOwner, alike: Alike, first: int) -> None:
        super().__init__()
        self.owner = owner
        self.alike = alike
        self.first = first


class _Replies(_Bundle):
    """Replies to requests like this one."""

    __slots__ = ("names", "owner", "request")

    def __init__(self, owner: ReplyOwner, request: Header) -> None:
        super().__init__()
        self.owner = owner
        self.request = request
        self.names: list[bytes] = []


class Batcher:
    """Bundles of one endpoint. `send` hands a sealed frame to the channel and raises CallErrors."""

    def __init__(
        self,
        endpoint: Endpoint,
        send: Callable[[bytes], None],
        clock: Callable[[], int],
        batch: WriteBatch,
    ) -> None:
        self._endpoint = endpoint
        self._send = send
        self._clock = clock
        self._batch = batch
        self._requests: _Requests | None = None
        self._replies: dict[tuple[bytes, str, int, str], _Replies] = {}
        self._wanted = False
        endpoint.set_number_holder(self)

    def _want(self) -> None:
        if not self._wanted:
            self._wanted = True
            self._batch.want(self.release)

    def send_now(self, frame: bytes) -> None:
        """Send a frame and write it, without another trip through the event loop."""
        self._batch.begin()
        try:
            self._send(frame)
        finally:
            self._batch.end()

    def write_now(self) -> None:
        """Write what is queued without waiting for the end of this turn."""
        self._batch.end()

    def forget(self) -> None:
        """Drop the requests that wait here: their callers are about to be told that they were not sent."""
        self._requests = None

    def release(self) -> None:
        """Seal and send everything."""
        self._wanted = False
        self.release_requests()
        replies = self._replies
        while replies:
            self._release_replies(replies.popitem()[1])

    # -- requests ---------------------------------------------------------------------------------------------

    def request(self, owner: RequestOwner, target: str, method: str, body: bytes, deadline: int) -> int:
        """Take a request and return its number. Raise Denied without a right, Unavailable without a session."""
        endpoint = self._endpoint
        parts = heads(body)
        alike = (target, method, deadline, endpoint.epoch, endpoint.session)
        bundle = self._requests
        if bundle is None or bundle.alike != alike or not bundle.takes(body, parts):
            endpoint.check_right(target)
            if bundle is not None and len(bundle.bodies) == BUNDLE_MAX:
                self.release_requests()
                self.write_now()  # so that the next process works while this one makes more
            bundle = _Requests(owner, alike, endpoint.take_number())  # which releases the one before
            self._requests = bundle
            number = bundle.first
            self._want()
        else:
            number = endpoint.take_next_number()
        bundle.add(body, parts)
        return number

    def release_requests(self) -> None:
        """Seal and send the requests: something else is about to take a number."""
        bundle, self._requests = self._requests, None
        if bundle is None:
            return
        target, method, deadline, epoch, session = bundle.alike
        numbers = range(bundle.first, bundle.first + len(bundle.bodies))
        try:
            frame = self._endpoint.seal_requests(numbers, target, method, bundle.bodies, deadline, epoch, session)
            bundle.owner.on_sealed(numbers, frame)
            self._send(frame)
        except CallError as error:
            bundle.owner.on_unsent(numbers, error)

    # -- replies ----------------------------------------------------------------------------------------------

    def reply(self, owner: ReplyOwner, request: Header, name: bytes, body: bytes) -> None:
        """Take a reply to a request that came in a bundle."""
        parts = heads(body)
        alike = (request.session, request.src, request.epoch, request.method)
        bundle = self._replies.get(alike)
        if bundle is None or not bundle.takes(body, parts):
            if bundle is not None:
                self._release_replies(bundle)
            bundle = self._replies[alike] = _Replies(owner, request)
            self._want()
        bundle.names.append(name)
        bundle.add(body, parts)
        if len(bundle.bodies) == BUNDLE_MAX:
            self._release_replies(self._replies.pop(alike))
            self.write_now()

    def _release_replies(self, bundle: _Replies) -> None:
        try:
            deadline = self._clock() + ANSWER_DEADLINE_MS
            self._send(self._endpoint.seal_replies(bundle.request, bundle.names, bundle.bodies, deadline))
        except CallError as error:
            bundle.owner.on_unsent_replies(bundle.request, bundle.names, bundle.bodies, error)


assert BUNDLE_BYTES_MAX >= BATCH_FRAME_MAX
