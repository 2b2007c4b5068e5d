"""A ZeroMQ link: DEALER to DEALER over ipc://, one per loop, driven by asyncio. The shell around frames.

Theory of operation. libzmq's descriptor (ZMQ_FD) is edge-triggered, so after every wake-up and every send the events
are read until nothing is left. Frames of one turn of the event loop leave together (`join_messages`), single ones at
once: nothing waits for company. libzmq's own queues are kept small; what it does not take stays in our bounded queue
and a full queue is an explicit `Busy`. zmq.asyncio is not used: measured, it costs three times the CPU.

The loops connect; Primary listens on a descriptor that the supervisor owns (ZMQ_USE_FD), so that its restart refuses
no connection. ZeroMQ tells nothing reliable about the peer's life: that comes over the life channel.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

import zmq
from zmq.backend import Socket as BackendSocket

from tlsrt.channels.frame import FRAME_MAX, MESSAGE_MAX, join_messages, split_message_untrusted
from tlsrt.errors import Busy, PeerError

SOCKET_NAME = "primary.sock"
HIGH_WATER = 64  # messages in libzmq, each way: what a crash can lose
TURN_BUDGET = 256  # frames (and messages) per turn, so that one busy link does not starve the others
EARLY_FRAMES = 16  # a turn that makes more sends them in pieces, so that the next process works meanwhile
_POLLIN, _POLLOUT, _NOBLOCK, _EVENTS = int(zmq.POLLIN), int(zmq.POLLOUT), int(zmq.NOBLOCK), int(zmq.EVENTS)


class Link:
    """One end. `on_frame` gets every frame received; `on_refused` the reason of a message that is not frames."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], on_frame: Callable[[bytes], None],
        on_refused: Callable[[str], None], *, queue_max: int = 1024,
    ) -> None:  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._socket = socket = context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0), (zmq.SNDHWM, HIGH_WATER), (zmq.RCVHWM, HIGH_WATER), (zmq.RECONNECT_IVL, 1),
            (zmq.RECONNECT_IVL_MAX, 50), (zmq.MAXMSGSIZE, MESSAGE_MAX), (zmq.IMMEDIATE, 1),
        ):  # fmt: skip
            socket.setsockopt(option, value)
        self._on_frame = on_frame
        self._on_refused = on_refused
        self._queue: deque[bytes] = deque()
        self._queue_max = queue_max
        self._messages: deque[bytes] = deque()
        self._held = 0  # frames inside the messages that ZeroMQ has not taken, at most
        self._scheduled = False
        self._open = False

    def connect(self, directory: str) -> None:
        """Connect to Primary through the socket in this directory."""
        self._socket.connect(f"ipc://{directory}/{SOCKET_NAME}")
        self._watch()

    def listen(self, descriptor: int) -> None:
        """Accept on a listening socket; libzmq owns a dup of it (it closes what it is given)."""
        self._socket.setsockopt(zmq.USE_FD, os.dup(descriptor))
        self._socket.bind(f"ipc:///channel/{SOCKET_NAME}")
        self._watch()

    def _watch(self) -> None:
        self._open = True
        self._loop.add_reader(self._descriptor(), self._turn)
        self._schedule()

    def _descriptor(self) -> int:
        return int(self._socket.getsockopt(zmq.FD))

    def close(self) -> list[bytes]:
        """Close at once and return the frames that were never handed to ZeroMQ."""
        if not self._open:
            return []
        self._open = False
        self._loop.remove_reader(self._descriptor())
        self._socket.close(0)
        unsent = list(self._queue)
        for message in self._messages:
            try:
                unsent.extend(split_message_untrusted(message))
            except PeerError:
                continue
        return unsent

    @property
    def depth(self) -> int:
        """How many frames wait here."""
        return len(self._queue) + self._held

    def send(self, frame: bytes) -> None:
        """Queue a frame for this turn; raise Busy when the queue is full."""
        if len(self._queue) + self._held >= self._queue_max:
            raise Busy("the channel's queue is full")
        self._queue.append(frame)
        if len(self._queue) >= EARLY_FRAMES:
            self._flush()
        if not self._scheduled:  # also after a flush: sending swallows the descriptor's edge
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Send what waits and receive what is there; come back while there is more.

        Asking for the events swallows the descriptor's edge, so each answer is acted upon until there is none: an
        edge for "writable" that came between a full send and the question would else be lost for good.
        """
        self._scheduled = False
        budget = TURN_BUDGET
        if self._open:
            self._flush()
        while self._open:
            events = int(BackendSocket.get(self._socket, _EVENTS))
            if budget <= 0:
                self._schedule()
                return
            budget -= 1
            if events & _POLLIN:
                try:
                    budget -= self._receive(self._socket.recv(_NOBLOCK))
                except zmq.Again:
                    continue
            elif events & _POLLOUT and (self._messages or self._queue):
                self._flush()
            else:
                return

    def _receive(self, message: bytes) -> int:
        """Hand on the frames of a message; return how many there were."""
        try:
            if self._socket.getsockopt(zmq.RCVMORE):
                while self._socket.getsockopt(zmq.RCVMORE):
                    self._socket.recv(_NOBLOCK)
                raise PeerError("multipart")
            frames = split_message_untrusted(message)
        except PeerError as error:
            self._on_refused(error.reason)
            return 0
        for frame in frames:
            self._on_frame(frame)
        return len(frames)

    def _flush(self) -> None:
        messages = self._messages
        while messages or self._queue:
            if not messages:
                messages.extend(join_messages(self._queue))
                self._held = len(self._queue)
                self._queue.clear()
            try:
                BackendSocket.send(self._socket, messages[0], _NOBLOCK)
            except zmq.Again:
                return  # the descriptor wakes us when there is room
            messages.popleft()
            if not messages:
                self._held = 0


assert MESSAGE_MAX >= FRAME_MAX
