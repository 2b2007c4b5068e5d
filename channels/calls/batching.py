"""What a component is about to say this turn: requests that are alike, and replies to the same asker, in bundles.

Theory of operation. Sealing costs the same for one request and for 32 that are sealed together: two AES-GCM calls
here, one at the gate, one at the recipient, and one header to build and to read. So requests of one turn of the event
loop to the same method with the same deadline become one REQUESTS frame, and the replies to such a frame REPLIES
frames; what is alone travels as an ordinary frame. Nothing waits longer than to the end of the turn, and the first
call of an idle component does not wait at all (see `Caller`). Every request in a bundle is a call of its own: the
gate opens and ends each, the recipient answers each.

A request takes its number when it is put in here, because its caller waits for that number. Numbers of a bundle have
no gap and frames leave in the order of their numbers, so whatever else the endpoint seals first releases the bundle.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.frames.frame import BATCH_FRAME_MAX, BUNDLE_BYTES_MAX, BUNDLE_MAX, Header
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.errors import CallError

ANSWER_DEADLINE_MS = 30_000
Alike = tuple[str, str, int, int, bytes]


class _Bundle:
    """Bodies that will share one frame; of requests, with the number of the first."""

    __slots__ = ("alike", "bodies", "first", "header", "names", "size")

    def __init__(self, alike: Alike | None = None, first: int = 0, header: Header | None = None) -> None:
        self.alike = alike
        self.first = first
        self.header = header
        self.names: list[bytes] = []
        self.bodies: list[bytes] = []
        self.size = 0

    def takes(self, body: bytes) -> bool:
        return len(self.bodies) < BUNDLE_MAX and self.size + len(body) <= BUNDLE_BYTES_MAX

    def add(self, body: bytes) -> None:
        self.bodies.append(body)
        self.size += len(body)


class Batcher:
    """Bundles of one endpoint. `send` hands a sealed frame to the channel and raises CallErrors."""

    def __init__(
        self,
        endpoint: Endpoint,
        send: Callable[[bytes], None],
        clock: Callable[[], int],
        turn: Callable[[], WriteBatch],
    ) -> None:
        self._endpoint = endpoint
        self._send = send
        self._clock = clock
        self._turn = turn
        self._requests: _Bundle | None = None
        self._replies: dict[tuple[bytes, str, int, str], _Bundle] = {}
        self._wanted = False
        self.on_sealed: Callable[[range, bytes], None] = lambda numbers, frame: None
        self.on_unsent: Callable[[range, CallError], None] = lambda numbers, error: None
        self.on_unsent_replies: Callable[[Header, list[bytes], list[bytes], CallError], None] = (
            lambda header, names, bodies, error: None
        )
        endpoint.before_seal = self._release_requests

    def _want(self) -> None:
        if not self._wanted:
            self._wanted = True
            self._turn().want(self.release)

    def send_now(self, frame: bytes) -> None:
        """Send a frame and write it, without another trip through the event loop."""
        turn = self._turn()
        turn.begin()
        try:
            self._send(frame)
        finally:
            turn.end()

    def write_now(self) -> None:
        """Do not wait for the end of this turn."""
        self._turn().end()

    def forget(self) -> None:
        """Drop the requests that wait here: their callers are about to be told that they were not sent."""
        self._requests = None

    def release(self) -> None:
        """Seal and send everything."""
        self._wanted = False
        self._release_requests()
        replies = self._replies
        while replies:
            self._release_replies(replies.popitem()[1])

    # -- requests ---------------------------------------------------------------------------------------------

    def request(self, target: str, method: str, body: bytes, deadline: int) -> int:
        """Take a request and return its number; raise Denied without a right, Unavailable without a session."""
        endpoint = self._endpoint
        alike = (target, method, deadline, endpoint.epoch, endpoint.session)
        bundle = self._requests
        if bundle is None or bundle.alike != alike or not bundle.takes(body):
            endpoint.check_right(target)
            bundle = _Bundle(alike, endpoint.take_number())  # which releases the one before
            self._requests = bundle
            number = bundle.first
            self._want()
        else:
            number = endpoint.take_next_number()
        bundle.add(body)
        if len(bundle.bodies) == BUNDLE_MAX:
            self._release_requests()
            self.write_now()  # so that the next process works while this one makes more
        return number

    def _release_requests(self) -> None:
        bundle, self._requests = self._requests, None
        if bundle is None or bundle.alike is None:
            return
        target, method, deadline, epoch, session = bundle.alike
        numbers = range(bundle.first, bundle.first + len(bundle.bodies))
        try:
            frame = self._endpoint.seal_requests(numbers, target, method, bundle.bodies, deadline, epoch, session)
            self.on_sealed(numbers, frame)
            self._send(frame)
        except CallError as error:
            self.on_unsent(numbers, error)

    # -- replies ----------------------------------------------------------------------------------------------

    def reply(self, request: Header, name: bytes, body: bytes) -> None:
        """Take a reply to a request that came in a bundle."""
        alike = (request.session, request.src, request.epoch, request.method)
        bundle = self._replies.get(alike)
        if bundle is None or not bundle.takes(body):
            if bundle is not None:
                self._release_replies(bundle)
            bundle = self._replies[alike] = _Bundle(header=request)
            self._want()
        bundle.names.append(name)
        bundle.add(body)
        if len(bundle.bodies) == BUNDLE_MAX:
            self._release_replies(self._replies.pop(alike))
            self.write_now()

    def _release_replies(self, bundle: _Bundle) -> None:
        assert bundle.header is not None
        try:
            deadline = self._clock() + ANSWER_DEADLINE_MS
            self._send(self._endpoint.seal_replies(bundle.header, bundle.names, bundle.bodies, deadline))
        except CallError as error:
            self.on_unsent_replies(bundle.header, bundle.names, bundle.bodies, error)


assert BUNDLE_BYTES_MAX >= BATCH_FRAME_MAX
