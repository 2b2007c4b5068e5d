"""A link of the connecting side on libzmq: a DEALER over ipc://, driven by asyncio. The other end is a `Link`.

Theory of operation. libzmq speaks to Primary in a thread of its own, and tells of news by a descriptor (ZMQ_FD) that
is edge-triggered: asking for the events, sending and receiving swallow an edge. So the events are asked after every
wake-up and every send, and every answer is acted upon. Frames of one turn leave together (`first_message`), single
ones at once: nothing waits for company. libzmq's own queues are small; what it does not take stays in our bounded
queue, and a full queue is an explicit `Busy`. zmq.asyncio is not used: measured, it costs three times the CPU.

Primary never speaks through libzmq (see `link.py`): it keeps the parts of a message that never ends without a limit,
and the peers of Primary may be captured. A loop has one peer, Primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import zmq
from zmq.backend import Socket as BackendSocket

from tlsrt.channels.frames.frame import MESSAGE_MAX, first_message, split_message_untrusted
from tlsrt.channels.links.frame_queue import EARLY_FRAMES, FrameQueue
from tlsrt.channels.links.link import RECONNECT_MAX_S, RECONNECT_S, SOCKET_NAME
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.errors import PeerError

TURN_BUDGET = 256  # frames a turn, so that a busy link does not starve the components
HIGH_WATER = 64  # messages in libzmq, each way: what a crash can lose
_POLLIN, _POLLOUT, _NOBLOCK = int(zmq.POLLIN), int(zmq.POLLOUT), int(zmq.NOBLOCK)
_OPTIONS = (
    (zmq.LINGER, 0), (zmq.SNDHWM, HIGH_WATER), (zmq.RCVHWM, HIGH_WATER), (zmq.RECONNECT_IVL, int(RECONNECT_S * 1000)),
    (zmq.RECONNECT_IVL_MAX, int(RECONNECT_MAX_S * 1000)), (zmq.MAXMSGSIZE, MESSAGE_MAX), (zmq.IMMEDIATE, 1),
)  # fmt: skip
_contexts: list[zmq.Context[zmq.Socket[bytes]]] = []


class Libzmq:
    """libzmq in this process. To be made before the seal, since it starts two threads; `link` makes a link.

    The context is held for good: one that is collected waits for its sockets, and a loop ends by os._exit.
    """

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.socket(zmq.PAIR).close()  # the threads start with the first socket
        _contexts.append(self._context)

    def link(
        self, batch: WriteBatch, on_frame: Callable[[bytes], None], on_refused: Callable[[str], None], *,
        queue_max: int = 1024,
    ) -> ZmqLink:  # fmt: skip
        return ZmqLink(self._context, batch, on_frame, on_refused, queue_max=queue_max)

    def end(self) -> None:
        """End the threads, and every link with them."""
        _contexts.remove(self._context)
        self._context.destroy(linger=0)


class ZmqLink(FrameQueue):
    """The end of a loop. `on_frame` gets every frame received; `on_refused` the reason of what is not frames."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], batch: WriteBatch, on_frame: Callable[[bytes], None],
        on_refused: Callable[[str], None], *, queue_max: int,
    ) -> None:  # fmt: skip
        super().__init__(batch, queue_max)
        self._loop = asyncio.get_running_loop()
        self._socket = socket = context.socket(zmq.DEALER)
        for option, value in _OPTIONS:
            socket.setsockopt(option, value)
        self._events: Callable[[], Any] = partial(BackendSocket.get, socket, zmq.EVENTS)
        self._send: Callable[[bytes, int], object] = partial(BackendSocket.send, socket)
        self._on_frame = on_frame
        self._on_refused = on_refused
        self._left: Iterator[bytes] = iter(())  # frames of the last message, if handing one on has failed
        self._scheduled = False  # another look
        self._full = False  # libzmq took nothing, and has not told of room since
        self._open = False

    def connect(self, directory: str) -> None:
        """Connect to Primary through the socket in this directory. Libzmq does so again when the connection is lost."""
        self._socket.connect(f"ipc://{directory}/{SOCKET_NAME}")
        self._open = True
        self._loop.add_reader(self._descriptor(), self._readable)
        self._look_again()

    def _descriptor(self) -> int:
        return int(self._socket.getsockopt(zmq.FD))

    def close(self) -> list[bytes]:
        """Close at once and return the frames that were never handed to libzmq."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor())
        self._socket.close(0)
        return self._take_unsent()

    def finish(self, timeout_s: float) -> None:
        """Close, and wait so long for libzmq to write what it was handed. It ends the context, so nothing comes after.

        Without this a message is lost that its thread had no processor to write in time: LINGER is 0 (zmq_ctx_term(3)).
        """
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor())
        self._socket.close(int(timeout_s * 1000))
        self._socket.context.term()

    # -- receiving --------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        """Hand on what is there, and send everything that this made."""
        self._scheduled = False
        self._batch.begin_turn()
        is_done = False
        try:
            self._receive()
            is_done = True
        finally:
            if not is_done:
                self._look_again()  # the descriptor tells of what is there only once
            self._batch.end()

    def _receive(self) -> None:
        """Receive until the answer about events is that there is nothing more, or come back for the rest."""
        budget = TURN_BUDGET
        for frame in self._left:
            self._on_frame(frame)
        while self._open:
            events = self._events()
            if self._full and events & _POLLOUT:
                self._full = False
                self._want()
            if not events & _POLLIN:
                return
            if budget <= 0:
                self._look_again()
                return
            try:
                budget -= self._take(self._socket.recv(_NOBLOCK))
            except zmq.Again:
                continue

    def _look_again(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._readable)

    def _take(self, message: bytes) -> int:
        """Hand on the frames of a message; return how many there were, and 1 for what is refused."""
        try:
            if self._socket.getsockopt(zmq.RCVMORE):
                while self._socket.getsockopt(zmq.RCVMORE):
                    self._socket.recv(_NOBLOCK)
                raise PeerError("multipart")
            frames = split_message_untrusted(message)
        except PeerError as error:
            self._on_refused(error.reason)
            return 1
        self._left = iter(frames)
        for frame in self._left:
            self._on_frame(frame)
        return len(frames)

    # -- sending ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what waits, as far as libzmq takes it, and look what it has to tell: sending swallows the edge."""
        while self._open and not self._full:
            self._send_all()
            events = self._events()
            if events & _POLLIN:
                self._look_again()
            if not self._full or not events & _POLLOUT:
                break
            self._full = False  # room was made between the two
        self._flush_at = len(self._queue) + EARLY_FRAMES
        if self._senders:
            self._wake_senders()

    def _send_all(self) -> None:
        queue = self._queue
        while queue:
            message, count = (queue[0], 1) if len(queue) == 1 else first_message(queue)
            try:
                self._send(message, _NOBLOCK)
            except zmq.Again:
                self._full = True
                return
            for _ in range(count):
                queue.popleft()
