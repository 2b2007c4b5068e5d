"""Batching: requests of one turn that are alike share a frame, and so do replies to one caller.

Theory of operation. Sealing costs the same for one request and for 32 that are sealed together: two AES-GCM calls
here, one at the gate, one at the recipient, and one header to build and to read. So requests of one turn of the event
loop to the same method become one REQUESTS frame, and the replies to such a frame REPLIES frames; what is alone
travels as an ordinary frame. Their deadlines need not be the same to the millisecond, as the clock ticks within turns:
the frame has the last of them, and the caller ends each at its own. Nothing waits longer than to the end of the turn,
and the first call of an idle component does not wait at all (see `Caller`). Every request in a bundle is a call of its
own: the gate opens and ends each, the recipient answers each.

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
ALIKE_MS = 10  # by which the deadlines of requests in one bundle may differ from that of the first


class BatchedRequest(Protocol):
    """A call whose request is in a bundle: it has the number when it is put in, and the frame when that is sealed."""

    seq: int
    frame: bytes

    def fail(self, error: CallError) -> None:
        """It could not be sent."""


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
    """Requests, with the number of the first. They have one target, method, epoch and session."""

    __slots__ = ("calls", "deadline", "epoch", "first", "latest", "method", "session", "target")

    def __init__(self, target: str, method: str, deadline: int, epoch: int, session: bytes, first: int) -> None:
        super().__init__()
        self.target = target
        self.method = method
        self.deadline = self.latest = deadline  # of the first, and the last of all
        self.epoch = epoch
        self.session = session
        self.first = first
        self.calls: list[BatchedRequest] = []


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

    def at_end(self, flush: Callable[[], None]) -> None:
        """Call this at the end of the turn, before what it makes is written."""
        self._batch.want(flush)

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

    def request(self, call: BatchedRequest, target: str, method: str, body: bytes, deadline: int) -> None:
        """Take a request and give its call a number. Raise Denied without a right, Unavailable without a session."""
        endpoint = self._endpoint
        bundle = self._requests
        parts = heads(body)
        if (
            bundle is None
            or bundle.method != method
            or bundle.target != target
            or not -ALIKE_MS <= deadline - bundle.deadline <= ALIKE_MS
            or bundle.epoch != endpoint.epoch
            or bundle.session is not endpoint.session
            or len(bundle.bodies) >= BUNDLE_MAX
            or bundle.size + len(body) > BUNDLE_BYTES_MAX
            or bundle.heads + parts > CONTAINERS_MAX
        ):  # `takes`, written out
            endpoint.check_right(target)
            if bundle is not None and len(bundle.bodies) == BUNDLE_MAX:
                self.release_requests()
                self.write_now()  # so that the next process works while this one makes more
            number = endpoint.take_number()  # which releases the one before
            bundle = self._requests = _Requests(target, method, deadline, endpoint.epoch, endpoint.session, number)
            call.seq = number
            self._want()
        else:
            call.seq = endpoint.take_next_number()
            if deadline > bundle.latest:
                bundle.latest = deadline
        bundle.calls.append(call)
        bundle.add(body, parts)

    def release_requests(self) -> None:
        """Seal and send the requests: something else is about to take a number."""
        bundle = self._requests
        if bundle is None:
            return
        self._requests = None
        numbers = range(bundle.first, bundle.first + len(bundle.bodies))
        try:
            frame = self._endpoint.seal_requests(
                numbers, bundle.target, bundle.method, bundle.bodies, bundle.latest, bundle.epoch, bundle.session
            )
            for call in bundle.calls:
                call.frame = frame
            self._send(frame)
        except CallError as error:
            for call in bundle.calls:
                call.fail(type(error)(error.message))

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

    def replies(self, owner: ReplyOwner, request: Header, names: list[bytes], bodies: list[bytes]) -> None:
        """Take replies to requests that came in one bundle, in order. The lists are the batcher's from now on."""
        size = sum(map(len, bodies))
        parts = size if size < CONTAINERS_MAX else sum(map(heads, bodies))  # it is never more
        alike = (request.session, request.src, request.epoch, request.method)
        if alike in self._replies or size > BUNDLE_BYTES_MAX or parts >= CONTAINERS_MAX or len(bodies) > BUNDLE_MAX:
            for name, body in zip(names, bodies, strict=True):
                self.reply(owner, request, name, body)
            return
        bundle = _Replies(owner, request)
        bundle.names, bundle.bodies, bundle.size = names, bodies, size
        bundle.heads += parts
        if len(bodies) == BUNDLE_MAX:
            self._release_replies(bundle)
            self.write_now()
        else:
            self._replies[alike] = bundle
            self._want()

    def _release_replies(self, bundle: _Replies) -> None:
        try:
            deadline = self._clock() + ANSWER_DEADLINE_MS
            self._send(self._endpoint.seal_replies(bundle.request, bundle.names, bundle.bodies, deadline))
        except CallError as error:
            bundle.owner.on_unsent_replies(bundle.request, bundle.names, bundle.bodies, error)


assert BUNDLE_BYTES_MAX >= BATCH_FRAME_MAX
