"""The export process: sends entries of the log and spans to collectors, on sockets that it is handed.

What collectors say and what processes say in their spans is parsed here and nowhere else: in a process with a uid of
its own, without capability, file or network, which can make no socket. The one key that it may hold is that of a
certificate for a collector that wants one.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

from tlsrt.channels.control.export import (
    ENTRY_BYTES,
    EXPORT,
    CollectorGoneMessage,
    CollectorMessage,
    HostMessage,
    Trouble,
)
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.collectors import CollectorKind
from tlsrt.errors import PeerError, one_line
from tlsrt.supervisor.export.backlog import Backlog
from tlsrt.supervisor.export.connection import Connection, client_context
from tlsrt.supervisor.export.otlp import encode_log_record, encode_resource, join_logs, join_spans
from tlsrt.supervisor.export.sender import HttpSender, Sender, SyslogSender, Target
from tlsrt.supervisor.export.spans import SpanReaders
from tlsrt.supervisor.export.syslog import encode_syslog
from tlsrt.supervisor.messages.exported_entry import ExportedEntry, decode_entry_untrusted
from tlsrt.supervisor.process.service_main import run_service
from tlsrt.text import printable

AT_ONCE = 128  # packets of one socket, then others have their turn
_KINDS = [*CollectorKind]  # by the number of a collector
LAST_S = 0.8  # for what waits, when the supervisor ends


class Export:
    """All senders, and what they are fed from; `clock` is in seconds of any steady clock."""

    def __init__(self, channel: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._supervisor = ControlChannel(channel, EXPORT)
        self._clock = clock
        self._epoll = select.epoll()
        self._host = HostMessage("", "")
        self._is_ending = False
        self._resource = b""
        self._senders: dict[int, tuple[CollectorKind, Sender]] = {}
        self._backlogs: dict[int, Backlog] = {}  # which outlive what a collector was before a reload
        self._told: dict[int, Trouble] = {}  # the last that was said of each, by whatever sender
        self._asked: set[int] = set()  # collectors that a socket will come for
        self._entries: socket.socket | None = None
        self._spans = SpanReaders(self._epoll, clock, self._take_span, self._leave_out)

    def run(self) -> int:
        """Serve until the supervisor closes the channel, then send what can be sent soon. Return the exit code."""
        self._supervisor.send("sealed")
        self._epoll.register(self._supervisor.fileno(), select.EPOLLIN)
        try:
            while True:
                self._turn(None)
        except PeerError as error:
            if error.reason != "closed":
                raise
        self._is_ending = True
        self._epoll.unregister(self._supervisor.fileno())
        end = self._clock() + LAST_S
        while self._clock() < end and not self._is_idle():
            for _, sender in self._senders.values():
                sender.finish()
            self._turn(end)
        return 0

    def _is_idle(self) -> bool:
        is_told_all = self._entries is None and self._spans.is_idle
        return is_told_all and all(sender.is_idle for _, sender in self._senders.values())

    def _turn(self, end: float | None) -> None:
        ends = [sender.next_at() for _, sender in self._senders.values()]
        first = min((at for at in (*ends, self._spans.next_at(), end) if at is not None), default=None)
        timeout = None if first is None else max(0.0, first - self._clock()) + 0.001
        for descriptor, _ in self._epoll.poll(timeout):
            if self._entries is not None and descriptor == self._entries.fileno():
                if not self._is_ending:
                    self._hear()  # what was said of collectors before these
                self._read_entries(self._entries)
            elif descriptor in self._spans:
                self._spans.read_untrusted(descriptor)
            elif descriptor == self._supervisor.fileno():
                self._hear()
            else:
                for _, sender in self._senders.values():
                    if sender.connection is not None and sender.connection.fileno() == descriptor:
                        sender.ready()
        self._spans.look()
        for _, sender in self._senders.values():
            sender.look()

    # The supervisor

    def _hear(self) -> None:
        while (received := self._supervisor.receive("supervisor", "sealed", descriptors=True)) is not None:
            name, message, descriptors = received
            if name == "host":
                self._host = message
                self._resource = encode_resource(message.host, message.version)
            elif name == "collector":
                self._add(message, descriptors)
            elif name == "entries":
                self._entries = self._reader(descriptors[0])
            elif name == "spans":
                self._spans.add(message.process, descriptors[0])
            elif name == "connected":
                self._connected(message.number, descriptors[0])
            elif name == "collector_gone":
                self._forget(message)
            elif name == "last":
                if message.number in self._senders:
                    self._senders[message.number][1].keep_last(descriptors[0])
                else:
                    os.close(descriptors[0])
            elif name == "unreachable":
                self._asked.discard(message.number)
                if message.number in self._senders:
                    self._senders[message.number][1].unreachable()

    def _reader(self, descriptor: int) -> socket.socket:
        self._epoll.register(descriptor, select.EPOLLIN)
        reader = socket.socket(fileno=descriptor)
        reader.setblocking(False)
        return reader

    def _connected(self, number: int, descriptor: int) -> None:
        self._asked.discard(number)
        if number in self._senders:
            self._senders[number][1].connected(descriptor)
        else:
            os.close(descriptor)

    def _forget(self, message: CollectorGoneMessage) -> None:
        """Let go of a collector, and of what waits for it unless it is configured still."""
        number = message.number
        if number in self._senders:
            self._senders.pop(number)[1].leave()
        self._asked.discard(number)
        if message.is_configured:
            self._backlogs.setdefault(number, Backlog())
            self._told[number] = Trouble.TLS  # the supervisor has told of its files
            return
        if _KINDS[number] is CollectorKind.OTLP_TRACES:
            self._spans.close()
        self._backlogs.pop(number, None)
        self._told.pop(number, None)

    def _add(self, message: CollectorMessage, descriptors: list[int]) -> None:
        if message.number in self._senders:
            self._senders.pop(message.number)[1].leave()
        backlog = self._backlogs.setdefault(message.number, Backlog())
        context = None
        try:
            if message.name:
                context = client_context(*descriptors)
        except (OSError, ValueError) as error:
            os.write(2, f"export: cannot use the files of {message.kind} {message.place}: {one_line(error)}\n".encode())
            self.trouble(message.number, Trouble.TLS, "")
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        target = Target(message.number, message.place, message.path, message.name, context)
        kind = CollectorKind(message.kind)
        sender: Sender
        if kind is CollectorKind.SYSLOG:
            sender = SyslogSender(target, self, self._opened, self._clock, backlog)
        else:
            join = partial(join_logs if kind is CollectorKind.OTLP_LOGS else join_spans, resource=self._resource)
            sender = HttpSender(target, self, self._opened, self._clock, join, self._host.version, backlog)
        sender.follow(self._told.get(message.number, Trouble.NONE))
        self._senders[message.number] = kind, sender

    def _opened(self, descriptor: int, target: Target) -> Connection:
        return Connection(self._epoll, descriptor, target.context, target.name)

    # What senders report

    def connect(self, number: int, *, has_failed: bool) -> None:
        if number not in self._asked:  # the one that was asked for before a reload is for the collector of now
            self._asked.add(number)
            self._say("connect", number, int(has_failed))

    def trouble(self, number: int, trouble: Trouble, detail: str) -> None:
        self._told[number] = trouble
        if detail:
            os.write(2, f"export: collector {number}: {printable(detail, 200)}\n".encode())
        self._say("trouble", number, int(trouble))

    def dropped(self, number: int, count: int) -> None:
        self._say("dropped", number, count)

    def _say(self, name: str, *fields: int) -> None:
        if not self._is_ending:
            self._supervisor.send(name, *fields)

    # What is sent

    def _read_entries(self, reader: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                data = reader.recv(ENTRY_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._epoll.unregister(reader.fileno())
                reader.close()
                self._entries = None
                return
            self._take(decode_entry_untrusted(data))

    def _take(self, entry: ExportedEntry) -> None:
        for number, place in self._places():
            if _KINDS[number] is CollectorKind.SYSLOG:
                place.put(encode_syslog(entry, self._host.host), is_grave=entry.is_grave)
            elif _KINDS[number] is CollectorKind.OTLP_LOGS:
                place.put(encode_log_record(entry), is_grave=entry.is_grave)

    def _take_span(self, item: bytes) -> None:
        for number, place in self._places():
            if _KINDS[number] is CollectorKind.OTLP_TRACES:
                place.put(item, is_grave=False)

    def _leave_out(self, count: int) -> None:
        for number, backlog in self._backlogs.items():
            if _KINDS[number] is CollectorKind.OTLP_TRACES:
                backlog.drop(count)

    def _places(self) -> Iterator[tuple[int, Sender | Backlog]]:
        """Return where what is for each collector is put: one whose files cannot be used has no sender."""
        for number, backlog in self._backlogs.items():
            yield number, self._senders[number][1] if number in self._senders else backlog


def export_main(channel: int) -> int:
    """Run the body of the forked, confined process; return its exit code. `channel` is owned from here on."""
    return run_service("export", lambda: Export(channel).run())
