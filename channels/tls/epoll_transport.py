"""Transports of many sockets on one epoll, with less between than asyncio's.

Theory of operation. An epoll descriptor is readable while one of its sockets is ready, so the event loop watches only
that one, and one callback serves those that are ready, in one `WriteBatch`: what they caused elsewhere leaves together.
Every socket is read once a callback, and those of one group (an address, then a client) only until they have brought so
much together; what is left makes the descriptor readable again (level-triggered), and comes first then. So no client
starves the others, however many sockets it has, nor his own by those that ask again at once. Of those that have not
authenticated only a few are read in a callback, wherever they come from.

Writing tries the socket at once and keeps the rest; asyncio's own transports cost three times the TLS of a small
request (measured), and a task for each connection accepted.

A `EpollTransport` keeps the rules of an asyncio transport with a buffered protocol, as far as `TlsConnection` needs
them: after the peer's end it closes once all is written, `connection_lost` comes once and never from within a call.
"""

from __future__ import annotations

import asyncio
import select
import socket
from struct import Struct
from struct import error as StructError

from tlsrt.channels.links.write_batch import WriteBatch

EVENTS_MAX = 1024  # asked for in a callback: all are served
GROUP_BYTES = 32 * 1024  # read of one group in a callback
READ_COST = 1024  # bytes that a read counts as at least, ...
STRANGER_COST = 16 * 1024  # ... and one of a connection that has not authenticated yet: a handshake takes about a ms
STRANGERS_MAX = 8  # such reads in a callback, from all addresses: so those who have authenticated do not wait for long
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_TCP_INFO = Struct("=120xQQ")  # up to tcpi_bytes_acked and tcpi_bytes_received (linux/tcp.h, since Linux 4.1)


class EpollLoop:
    """The sockets of one event loop."""

    def __init__(self, batch: WriteBatch) -> None:
        self.loop = asyncio.get_running_loop()
        self._batch = batch
        self._epoll = select.epoll()
        self._transports: dict[int, EpollTransport] = {}
        self._reads = 0
        self._is_crowded = False  # the last callback left some out
        self._unheard: set[EpollTransport] = set()  # that have not authenticated and wait for their first read
        self.loop.add_reader(self._epoll.fileno(), self._ready)

    @property
    def has_waiting_strangers(self) -> bool:
        """Whether some that have not authenticated have sent something, and nothing of it was read yet.

        One that was read once counts no more, whatever it goes on to send: so nothing that a peer does holds this up
        for longer than it takes to read each of them once.
        """
        return bool(self._unheard)

    def add(
        self, accepted: socket.socket, protocol: asyncio.BufferedProtocol, group: str = "", least: int = READ_COST
    ) -> EpollTransport:  # fmt: skip
        """Take a connected stream socket and make it the protocol's transport. Raises OSError if it is closed."""
        accepted.setblocking(False)
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._epoll.register(accepted.fileno(), _IN)
        transport = self._transports[accepted.fileno()] = EpollTransport(self, accepted, protocol, group, least)
        transport.added = transport.served = self._reads
        protocol.connection_made(transport)
        return transport

    def watch(self, transport: EpollTransport, events: int) -> None:
        """Wait for other events from now on."""
        self._epoll.modify(transport.descriptor, events)

    def remove(self, transport: EpollTransport) -> None:
        """Serve it no more."""
        self._epoll.unregister(transport.descriptor)
        del self._transports[transport.descriptor]
        self._unheard.discard(transport)

    def close(self) -> None:
        """End; to be called when all transports are closed."""
        if not self._epoll.closed:
            self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        self._batch.begin_turn()
        spent: dict[str, int] = {}
        strangers = STRANGERS_MAX
        ready = self._epoll.poll(0, EVENTS_MAX)
        if self._is_crowded:  # the kernel would tell the same ones first again: the longest not served come first
            ready.sort(key=self._served)
            self._is_crowded = False
        try:
            for descriptor, events in ready:
                transport = self._transports.get(descriptor)
                if transport is None:  # it was closed in this very turn
                    continue
                before = spent.get(transport.group, 0)
                least = transport.least
                if least == STRANGER_COST:
                    if before >= GROUP_BYTES or not strangers:
                        self._is_crowded = True
                        if transport.served == transport.added:
                            self._unheard.add(transport)
                        continue
                    strangers -= 1
                    self._unheard.discard(transport)
                if before < GROUP_BYTES:
                    self._reads += 1
                    transport.served = self._reads
                    spent[transport.group] = before + max(least, transport.serve(events))
                else:
                    self._is_crowded = True
        finally:
            self._batch.end()

    def _served(self, ready: tuple[int, int]) -> int:
        transport = self._transports.get(ready[0])
        return transport.served if transport is not None else 0


class EpollTransport(asyncio.Transport):
    """One socket."""

    def __init__(
        self, epoll_loop: EpollLoop, accepted: socket.socket, protocol: asyncio.BufferedProtocol, group: str, least: int
    ) -> None:  # fmt: skip
        super().__init__()
        self.group = group  # who is charged for it ...
        self.least = least  # ... and with how many bytes a read at least
        self.descriptor = accepted.fileno()
        self.added = 0  # when, counted in reads of all
        self.served = 0  # and when it was read last
        self._epoll_loop = epoll_loop
        self._socket = accepted
        self._protocol = protocol
        self._rest = bytearray()  # what the socket has not taken
        self._closing = False  # nothing more is read; it goes when all is written
        self._ending = False  # our side is to be shut when all is written
        self._lost = False
        self._reading = _IN  # nothing while it rests

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol have what comes from now on."""
        assert isinstance(protocol, asyncio.BufferedProtocol)
        self._protocol = protocol

    def charge_to(self, group: str) -> None:
        """Charge it to a subject that has authenticated."""
        self.group, self.least = group, READ_COST

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send now what the socket takes, the rest when it can; without effect once closing."""
        if self._closing or self._ending:
            return
        if not self._rest:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._lose(error)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
            self._epoll_loop.watch(self, self._reading | _OUT)
        self._rest += data

    def write_eof(self) -> None:
        """Shut our side when all is written."""
        if not self._ending and not self._closing:
            self._ending = True
            if not self._rest:
                self._shut()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        """Read no more, and close when all is written."""
        if not self._closing:
            self._closing = True
            if self._rest:
                self._epoll_loop.watch(self, _OUT)
            else:
                self._lose(None)

    def abort(self) -> None:
        """Close at once."""
        self._lose(None)

    def rest(self, for_s: float) -> None:
        """Read nothing for so long: what the peer sends waits in the kernel, and then with the peer."""
        if self._reading and not self._closing:
            self._read_only(0)
            self._epoll_loop.loop.call_later(for_s, self._wake)

    def _wake(self) -> None:
        if not self._closing:
            self._read_only(_IN)

    def _read_only(self, events: int) -> None:
        self._reading = events
        self._epoll_loop.watch(self, events | (_OUT if self._rest else 0))

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return len(self._rest)

    def bytes_moved(self) -> tuple[int, int] | None:
        """Return how many bytes came, and how many of ours have arrived, as the kernel counts; None if it does not."""
        try:
            counts = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
            acknowledged, received = _TCP_INFO.unpack(counts)
        except (OSError, StructError):  # a unix socket, an old kernel, or it is closed
            return None
        return received, acknowledged

    def has_unread(self) -> bool:
        """Tell whether the socket holds bytes that were not read yet."""
        try:
            return not self._lost and bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:  # nothing, or it is broken
            return False

    def serve(self, events: int) -> int:
        """Do what these events allow and return how much was read. A mistake of the protocol ends this one only."""
        try:
            if events & _OUT:
                self._flush()
            if events & ~_OUT and not self._closing:
                return self._read()
            elif events & ~_OUT & ~_IN and not self._lost:
                self._lose(None)  # broken while the rest was being written
        except OSError as error:
            self._lose(error)
        except Exception as error:
            self._epoll_loop.loop.call_exception_handler(
                {"message": "a connection's protocol failed", "exception": error, "transport": self}
            )
            self._lose(error)
        return 0

    def _read(self) -> int:
        try:
            count = self._socket.recv_into(self._protocol.get_buffer(-1))
        except (BlockingIOError, InterruptedError):
            return 0
        if count:
            self._protocol.buffer_updated(count)
        else:
            self._protocol.eof_received()
            self.close()
        return count

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._rest)
        except (BlockingIOError, InterruptedError):
            return
        del self._rest[:sent]
        if self._rest:
            return
        if self._closing:
            self._lose(None)
            return
        self._epoll_loop.watch(self, self._reading)
        if self._ending:
            self._shut()

    def _shut(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer has closed, as the next read finds

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._rest.clear()
        self._epoll_loop.remove(self)
        self._epoll_loop.loop.call_soon(self._gone, error)

    def _gone(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._socket.close()
