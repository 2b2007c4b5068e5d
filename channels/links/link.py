"""A link: the ZeroMQ channel of one loop, DEALER to DEALER over ipc://, driven by asyncio. The shell around frames.

Theory of operation. The socket is watched by the event loop itself and spoken to in ZMTP (`zmtp.py`): no thread of
libzmq stands between two processes. One read takes all that is there, one write all that the turn made; frames that
the kernel does not take stay in our bounded queue (`frame_queue.py`).

The loops connect, and connect again when the connection is lost; Primary listens on a descriptor that the supervisor
owns, so that its restart refuses no connection. Of several connections the newest that has shaken hands is written
to: only that loop itself can make one more. A connection tells nothing reliable about the peer's life: that
comes over the life channel.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from itertools import islice

from tlsrt.backoff import Backoff
from tlsrt.channels.frames.frame import FRAME_MAX, MESSAGE_MAX, first_message, split_message_untrusted
from tlsrt.channels.links.frame_queue import EARLY_FRAMES, FrameQueue
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.links.zmtp import GREETING, READY, ZmtpReader, message_head
from tlsrt.config.processes import LINK_CONNECTIONS_MAX
from tlsrt.errors import PeerError

SOCKET_NAME = "primary.sock"
TURN_BUDGET = 32  # frames a turn of one link: about half a millisecond, for which the others wait
WRITE_BYTES = 128 * 1024  # one write; more than a socket takes at once is a copy for nothing
JOINED_BYTES = 16 * 1024  # measured: copying so much costs less than handing the pieces over one by one
MESSAGES_MAX = 32  # of one writev(2), with a head each; IOV_MAX is 1024
ACCEPTS_PER_TURN = 32
RECONNECT_S = 0.001
RECONNECT_MAX_S = 0.05
_BUFFER = bytearray(256 * 1024)  # where every read lands first; one thread, and nothing stays in it


class _Connection:
    """One socket: what it has sent, and the rest of the message that is half written."""

    __slots__ = ("frames", "reader", "rest", "socket", "waits", "watched")

    def __init__(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        self.socket = peer
        self.reader = ZmtpReader(MESSAGE_MAX)
        self.frames: Iterator[bytes | None] | None = None  # whole ones that did not fit a turn
        self.rest = memoryview(GREETING + READY)
        self.waits = False  # until the socket takes more
        self.watched = False  # the event loop tells when it does


class Link(FrameQueue):
    """One end. `on_frame` gets every frame received; `on_refused` the reason of a message that is not frames."""

    def __init__(
        self, batch: WriteBatch, on_frame: Callable[[bytes], object], on_refused: Callable[[str], None], *,
        queue_max: int = 1024,
    ) -> None:  # fmt: skip
        super().__init__(batch, queue_max)
        self._loop = asyncio.get_running_loop()
        self._on_frame = on_frame
        self._on_refused = on_refused
        self._connections: list[_Connection] = []
        self._ready: _Connection | None = None  # whom we write to
        self._listener: socket.socket | None = None
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None
        self._backoff = Backoff(RECONNECT_S, RECONNECT_MAX_S)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that has shaken hands."""
        return self._ready is not None

    @property
    def is_idle(self) -> bool:
        return not self._queue and not any(connection.rest for connection in self._connections)

    def connect(self, directory: str) -> None:
        """Connect to Primary through the socket in this directory, and again whenever the connection is lost."""
        self._address = f"{directory}/{SOCKET_NAME}"
        self._connect()

    def _connect(self) -> None:
        self._timer = None
        peer = socket.socket(socket.AF_UNIX)
        peer.setblocking(False)
        try:
            peer.connect(self._address)
        except OSError:  # its queue is full, or it is not there yet
            peer.close()
            self._timer = self._loop.call_later(self._backoff.pause(), self._connect)
        else:
            self._backoff.reset()
            self._add(peer)

    def listen(self, descriptor: int) -> None:
        """Accept on a dup of this listening socket."""
        self._listener = socket.socket(fileno=os.dup(descriptor))
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                peer = listener.accept()[0]
            except OSError:
                return
            if len(self._connections) >= LINK_CONNECTIONS_MAX:
                self._drop(self._connections[0])
            self._add(peer)

    def _add(self, peer: socket.socket) -> None:
        connection = _Connection(peer)
        self._connections.append(connection)
        self._loop.add_reader(peer.fileno(), self._readable, connection)
        self._write_rest(connection)

    def _drop(self, connection: _Connection) -> None:
        """End a connection; the one before it takes its place."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._loop.remove_reader(connection.socket.fileno())
        self._loop.remove_writer(connection.socket.fileno())
        connection.socket.close()
        if self._senders:
            self._wake_senders()
        if self._ready is connection:
            self._ready = next((other for other in reversed(self._connections) if other.reader.ready), None)
            if self._ready is not None:
                self._want()
        if self._address and not self._timer:
            self._timer = self._loop.call_later(RECONNECT_S, self._connect)

    def close(self) -> list[bytes]:
        """Close at once and return the frames that were never written."""
        self._address = ""
        for connection in list(self._connections):
            self._drop(connection)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        return self._take_unsent()

    def finish(self, timeout_s: float) -> None:
        """Close: what was written is with the kernel."""
        self.close()

    # -- receiving --------------------------------------------------------------------------------------------

    def _readable(self, connection: _Connection) -> None:
        """Take what is there, hand on its frames, and write everything that this made."""
        if connection not in self._connections:
            return
        self._batch.begin_turn()
        try:
            if connection.frames is None:
                count = connection.socket.recv_into(_BUFFER)
                if not count:
                    self._drop(connection)
                    return
                message = connection.reader.whole_untrusted(_BUFFER, count)
                if message[:1] == b"\x94" and message[1:2] != b"\x01":
                    self._on_frame(message)  # one frame, which is what comes to a host at rest
                else:
                    self._received(connection, memoryview(_BUFFER)[:count])
            else:
                self._hand_on(connection, connection.frames)
        except (BlockingIOError, InterruptedError):
            return
        except PeerError as error:
            self._on_refused(error.reason)
            self._drop(connection)
        except OSError:
            self._drop(connection)
        finally:
            self._batch.end()

    def _received(self, connection: _Connection, data: memoryview) -> None:
        reader = connection.reader
        was_ready = reader.ready
        messages = reader.feed_untrusted(data)
        if reader.multiparts:
            for _ in range(reader.multiparts):
                self._on_refused("multipart")
            reader.multiparts = 0
        if not was_ready and reader.ready:
            self._ready = connection
            self._want()
        if messages:
            self._hand_on(connection, self._frames_of(messages))

    def _frames_of(self, messages: list[bytes]) -> Iterator[bytes | None]:
        """Yield the frames of some messages; None for a message that is refused, for it costs time too."""
        for message in messages:
            if message[:1] == b"\x94" and message[1:2] != b"\x01":
                yield message
                continue
            try:
                yield from split_message_untrusted(message)
            except PeerError as error:
                self._on_refused(error.reason)
                yield None

    def _hand_on(self, connection: _Connection, frames: Iterator[bytes | None]) -> None:
        """Hand on some frames; where there are more, come back for them and read nothing before."""
        budget = TURN_BUDGET
        on_frame = self._on_frame
        are_done = False
        try:
            for frame in frames:
                if frame is not None:
                    on_frame(frame)
                budget -= 1
                if not budget:
                    break
            else:
                are_done = True
        finally:  # one that could not be handed on takes no other along
            self._after(connection, frames, are_done)

    def _after(self, connection: _Connection, frames: Iterator[bytes | None], are_done: bool) -> None:
        if connection not in self._connections:  # it went while it was written to
            return
        if not are_done:
            if connection.frames is None:
                connection.frames = frames
                self._loop.remove_reader(connection.socket.fileno())
            self._loop.call_soon(self._readable, connection)
        elif connection.frames is not None:
            connection.frames = None
            self._loop.add_reader(connection.socket.fileno(), self._readable, connection)

    # -- sending ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits, as far as the kernel takes it. Small neighbours share a message, which is read as one."""
        queue = self._queue
        while queue and (connection := self._ready) is not None and not connection.waits:
            if len(queue) == 1 and len(queue[0]) <= JOINED_BYTES:
                self._write_one(connection, queue[0])
            else:
                self._write(connection, *self._pieces())
        self._flush_at = len(queue) + EARLY_FRAMES
        if self._senders:
            self._wake_senders()

    def _pieces(self) -> tuple[list[bytes], list[int], int]:
        """Return the messages of one write, each after its head, how many frames each holds, and their size."""
        pieces: list[bytes] = []
        counts: list[int] = []
        size = taken = 0
        while taken < len(self._queue) and size < WRITE_BYTES and len(counts) < MESSAGES_MAX:
            message, count = first_message(islice(self._queue, taken, None))
            pieces += (message_head(len(message)), message)
            counts.append(count)
            size += len(message)
            taken += count
        return pieces, counts, size

    def _write_one(self, connection: _Connection, message: bytes) -> None:
        """Write the only message that waits, a small one: what leaves a host at rest."""
        data = message_head(len(message)) + message
        try:
            sent = connection.socket.send(data)
        except (BlockingIOError, InterruptedError):
            self._wait(connection)
            return
        except OSError:
            self._drop(connection)
            return
        self._queue.clear()
        if sent < len(data):
            connection.rest = memoryview(data)[sent:]
            self._wait(connection)

    def _write(self, connection: _Connection, pieces: list[bytes], counts: list[int], size: int) -> None:
        """Write whole messages, and take those that have begun from the queue. Large ones are not joined before."""
        try:
            if size > JOINED_BYTES:
                sent = os.writev(connection.socket.fileno(), pieces)  # sendmsg could name an address: no loop has it
            else:
                sent = connection.socket.send(b"".join(pieces))
        except (BlockingIOError, InterruptedError):
            self._wait(connection)
            return
        except OSError:
            self._drop(connection)
            return
        at = 0
        for number, count in enumerate(counts):
            head, message = pieces[2 * number : 2 * number + 2]
            at += len(head) + len(message)
            for _ in range(count):
                self._queue.popleft()
            if at >= sent:
                break
        if at > sent:
            left = at - sent
            connection.rest = (
                memoryview(message)[-left:] if left <= len(message) else memoryview((head + message)[-left:])
            )
            self._wait(connection)

    def _wait(self, connection: _Connection) -> None:
        connection.waits = True
        if not connection.watched:
            connection.watched = True
            self._loop.add_writer(connection.socket.fileno(), self._writable, connection)

    def _writable(self, connection: _Connection) -> None:
        """Write on. Watch no longer once nothing waits, for a peer that is slower than we fills up again and again."""
        connection.waits = False
        self._write_rest(connection)
        if connection is self._ready:
            self.flush()
        elif self._senders:
            self._wake_senders()
        if not connection.waits and connection in self._connections:
            connection.watched = False
            self._loop.remove_writer(connection.socket.fileno())

    def _write_rest(self, connection: _Connection) -> None:
        """Write the rest of a message that has begun."""
        while connection.rest:
            try:
                connection.rest = connection.rest[connection.socket.send(connection.rest) :]
            except (BlockingIOError, InterruptedError):
                self._wait(connection)
                return
            except OSError:
                self._drop(connection)
                return


assert MESSAGE_MAX >= FRAME_MAX
