"""The supervisor's side of the export process: entries for it, and sockets to collectors when it asks for them.

Entries are put on a socket that outlives that process, so what is there when it dies is sent by the next one. What it
has no room for is left out and counted; nothing here waits, but for a moment at the very end of a stop. A reload may
change the collectors: what waits for one of a kind is for the next one of that kind.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from tlsrt import __version__
from tlsrt.channels.control.export import EXPORT, Trouble
from tlsrt.channels.control.life import LoopState
from tlsrt.config.collectors import Collector, CollectorKind
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.events.journal import fields_of
from tlsrt.supervisor.events.log_entry import LogEntry
from tlsrt.supervisor.messages.exported_entry import ExportedEntry, encode_entry
from tlsrt.supervisor.process.children import Child, Children, HelperStart
from tlsrt.supervisor.supervision.collectors import addresses_of, connecting_socket, files_of, marks_of
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.service_process import ServiceProcess

NAME = "export"
LEAST_S = 0.2  # between two connections to a collector
SAID_S = 10.0  # between two events about what was left out
LAST_MS = 1000  # at the end of a stop, for what waits
_WORDS_BURST, _WORDS_PER_S = 40, 2.0  # of trouble and drops; more than an honest one has to say
_BUFFER = 1 << 20  # bytes of entries on their way; the kernel counts more than their length, and may give less
_NAME_WAIT_S, _NAME_STEP_S = 20.0, 0.2  # for the resolver, at a start
_TRACES = [*CollectorKind].index(CollectorKind.OTLP_TRACES)
_TROUBLES = {
    Trouble.UNREACHABLE: "it cannot be reached", Trouble.TLS: "its certificate or its TLS is not right",
    Trouble.SILENT: "it does not answer", Trouble.CLOSED: "it ends connections",
    Trouble.REFUSED: "it refuses what it is sent",
}  # fmt: skip


class Names(Protocol):
    """Who has the names of collectors looked up."""

    def ask_again(self, name: str) -> None:
        """Ask for one before its time."""


class ExportProcess(ServiceProcess):
    """The one process that sends log and spans away, over all its incarnations."""

    def __init__(self, context: Context, loops: Loops, names: Names, host: str) -> None:
        super().__init__(context, NAME, EXPORT)
        self._loops = loops
        self._names = names
        self._host = host
        self._collectors: dict[int, Collector] = {}  # by number: those of the configuration in force
        self._told: dict[int, tuple[Collector, object]] = {}  # what the process has of them
        self._known: set[int] = set()  # those, and those for which it keeps what comes until their files can be used
        self._turns: dict[int, int] = {}  # of the addresses of a name
        self._words = Bucket(_WORDS_BURST, _WORDS_PER_S)
        self._asked: set[int] = set()  # collectors that a connection is due for
        self._connected_at: dict[int, float] = {}
        self._lost = 0
        self._writer: socket.socket | None = None
        self._reader: socket.socket | None = None
        self._room = 0  # bytes as the kernel counts them
        self._spans: dict[str, socket.socket] = {}  # process -> the end that is read
        self._sampling: tuple[int, ...] = ()  # what processes were told; empty: to say no spans
        self._has_logs = False
        self._take_configuration()
        context.events.listeners.append(self._hear_event)

    def is_needed(self, config: Config) -> bool:
        return bool(config.collectors and self._collectors)  # it begins with all that a reload has brought

    def _hear_event(self, event: HostEvent) -> None:
        """A reload need not begin an epoch. What comes after it is for the collectors that it has brought."""
        if event.name.name == "reloaded" and not self.is_stopping:
            self._take_configuration()
            if self.is_attested:
                self._tell_collectors()
            self._context.event_loop.call_later(0, self._reloaded)

    def _reloaded(self) -> None:
        if self.is_stopping:
            return
        self.look()
        for loop in self._loops.all:
            if loop.state is LoopState.ACTIVE:
                self._hand_spans(loop)

    def _take_configuration(self) -> None:
        config = self._context.current.config
        self._collectors = {one.number: one for one in config.collectors}
        if self._collectors and self._writer is None:
            self._open_way()
        elif not self._collectors:
            self._close_way()
        self._has_logs = bool(config.log.collectors)
        traces = config.traces
        sampling = (round(traces.ratio * 1e9), round(traces.most_per_s * 1000)) if traces.collectors else ()
        if sampling != self._sampling:
            self._sampling = sampling
            for process in [*self._spans]:
                self._forget(process)

    def _open_way(self) -> None:
        """Make the socket pair of entries. Without one there are no collectors: the next reload tries again."""
        try:
            self._writer, self._reader = _packet_pair()
        except OSError as error:
            self._context.console.warning(NAME, f"cannot send: {error.strerror}; reload again")
            self._collectors = {}
            return
        self._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._room = self._writer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    def _close_way(self) -> None:
        """Let go of what is unread: it is for no collector that comes later."""
        if self._writer is not None and self._reader is not None:
            self._writer.close()
            self._reader.close()
        self._writer = self._reader = None

    def fork(self, children: Children, start: HelperStart) -> Child:
        return children.spawn_helper(replace(start, name=NAME))

    # Entries

    def write(self, entry: LogEntry) -> bool:
        """Put an entry on its way, or count it as lost. Always True: who writes keeps nothing for this."""
        if self._writer is None or not self._has_logs:
            return True
        fields = tuple((name, value) for name, value in fields_of(entry) if name.startswith("TLSRT_"))
        exported = ExportedEntry(entry.at_ms, entry.priority, entry.message, entry.event, entry.loop, fields)
        try:
            if exported.is_grave or queued_bytes(self._writer) <= self._room // 2:  # the other half is for alarms
                self._writer.send(encode_entry(exported), socket.MSG_NOSIGNAL)
                return True
        except OSError:
            pass  # it is full
        self._lost += 1
        if self._lost == 1:
            self._context.event_loop.call_later(SAID_S, self._tell_lost)
        return True

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        self._context.events.emit("export_dropped", NAME, f"{lost} on their way to it", entries=lost)

    # Its life

    def _ready(self) -> None:
        super()._ready()
        self._told.clear()
        self._known.clear()
        self._send("host", self._host, __version__)
        self._tell_collectors()
        if self._reader is not None:
            self._send("entries", descriptors=(self._reader.fileno(),))

    def _tell_collectors(self) -> None:
        """Tell the process what has changed since it was told. What follows is later: a listener must not emit."""
        child = self.child
        try:
            for number in self._known - self._collectors.keys():
                self._known.discard(number)
                self._take_away(number)
            for number, collector in self._collectors.items():
                self._tell_collector(number, collector)
                if number not in self._known:
                    self._known.add(number)
                    for process, reader in self._spans.items() if number == _TRACES else ():
                        self._put("spans", process, descriptors=(reader.fileno(),))
        except PeerError as error:
            self._context.event_loop.call_later(0, partial(self._unread, child, error))

    def _tell_collector(self, number: int, collector: Collector) -> None:
        try:
            marks = marks_of(collector)
            if self._told.get(number) == (collector, marks):
                return
            files = files_of(collector)
        except (ConfigError, OSError) as error:
            where = f"{collector.kind} {collector.place}"
            self._context.console.warning(NAME, f"cannot send to {where}: {error}")
            self._context.event_loop.call_later(0, partial(self._tell_unusable, where))
            self._take_away(number)
            return
        try:
            fields = (number, str(collector.kind), collector.place, collector.path, collector.name)
            self._put("collector", *fields, descriptors=files)
        finally:
            for descriptor in files:
                os.close(descriptor)
        self._told[number] = collector, marks

    def _tell_unusable(self, where: str) -> None:
        self._context.events.emit("collector_lost", NAME, f"{where}: its files cannot be used")

    def _take_away(self, number: int) -> None:
        """Take a collector from the process. One that is configured has what comes meanwhile kept."""
        self._told.pop(number, None)
        self._asked.discard(number)
        self._put("collector_gone", number, int(number in self._collectors))

    def stopping(self) -> None:
        """Go on: how the host stops is told, too."""

    def stopped(self, exit_code: int) -> None:
        self.is_stopping, self.is_wanted = True, False
        for number in [*self._told]:
            self._hand_over(number, "last")
        self._close_channel()
        self._close_way()
        for process in [*self._spans]:
            self._forget(process)
        if self.child is not None:
            waiting = select.poll()
            waiting.register(self.child.pidfd, select.POLLIN)
            waiting.poll(LAST_MS)

    def lost(self) -> None:
        self._asked.clear()
        self._told.clear()
        self._known.clear()

    # Spans

    def loop_active(self, loop: Loop) -> None:
        self._forget(loop.name)
        self._hand_spans(loop)

    def _hand_spans(self, loop: Loop) -> None:
        """Hand a process that serves a socket for its spans, and its other end to who sends them."""
        if not self._sampling or loop.name in self._spans:
            return
        try:
            theirs, ours = _packet_pair()
        except OSError as error:
            self._context.console.warning(NAME, f"has no spans of {loop.name}: {error.strerror}")
            return
        with theirs:
            self._loops.tell(loop, "spans", *self._sampling, descriptors=(theirs.fileno(),))
        self._spans[loop.name] = ours
        if _TRACES in self._known:
            self._send("spans", loop.name, descriptors=(ours.fileno(),))

    def loop_changed(self, loop: Loop) -> None:
        if not loop.is_living:
            self._forget(loop.name)

    def _forget(self, process: str) -> None:
        """Close our copy of what is read: the reader has the end of it, when all that was said is read."""
        if process in self._spans:
            self._spans.pop(process).close()

    # What it says

    def take(self, name: str, message: Any, descriptors: list[int]) -> None:
        if message.number >= len(CollectorKind):
            raise PeerError("no_such_collector")
        now = self._context.event_loop.now
        if message.number not in self._told:  # a reload has taken it away meanwhile
            if not self._words.take(now):
                raise PeerError("flood")
            return
        collector = self._told[message.number][0]
        if name == "connect":
            if message.number in self._asked:
                raise PeerError("hurried")
            self._asked.add(message.number)
            if message.has_failed:
                self._turns[message.number] = self._turns.get(message.number, 0) + 1
                if collector.rule is not None:
                    self._names.ask_again(collector.rule.name)
            wait_s = self._connected_at.get(message.number, -LEAST_S) + LEAST_S - now
            connect = partial(self._connect, message.number, self.child, now + _NAME_WAIT_S)
            self._context.event_loop.call_later(max(0.0, wait_s), connect)
        elif not self._words.take(now):
            raise PeerError("flood")
        elif name == "trouble":
            self._tell_trouble(collector, message.trouble)
        else:
            words = f"{message.entries} for {collector.kind} {collector.place}"
            self._context.events.emit("export_dropped", NAME, words, entries=message.entries)

    def _tell_trouble(self, collector: Collector, code: int) -> None:
        try:
            trouble = Trouble(code)
        except ValueError:
            raise PeerError("bad_trouble") from None
        where = f"{collector.kind} {collector.place}"
        if trouble is Trouble.NONE:
            self._context.events.emit("collector_back", NAME, where)
        else:
            self._context.events.emit("collector_lost", NAME, f"{where}: {_TROUBLES[trouble]}")

    def _connect(self, number: int, asker: Child | None, until: float) -> None:
        """Answer with a socket; at a start when the resolver has been asked for the name."""
        if asker is not self.child or number not in self._asked:
            return  # another one has asked for another connection
        rule, now = self._told[number][0].rule, self._context.event_loop.now
        if rule is not None and rule.name not in self._context.current.children.pins.settled and now < until:
            self._context.event_loop.call_later(_NAME_STEP_S, partial(self._connect, number, asker, until))
            return
        self._asked.discard(number)
        self._connected_at[number] = now
        self._hand_over(number, "connected")

    def _hand_over(self, number: int, name: str) -> None:
        if number not in self._told:
            return
        collector = self._told[number][0]
        addresses = addresses_of(collector, self._context.current.children.pins)
        try:
            if not addresses:
                raise OSError(errno.EADDRNOTAVAIL, "its name has no address")
            address = addresses[self._turns.get(number, 0) % len(addresses)]
            descriptor = connecting_socket(address, collector.port)
        except OSError:
            if name == "connected":  # the last one is not waited for, and a connection that is there goes on
                self._send("unreachable", number)
            return
        self._send(name, number, descriptors=(descriptor,))
        os.close(descriptor)

    def _send(self, name: str, *fields: int | str, descriptors: Sequence[int] = ()) -> None:
        """Send it a message, or end it."""
        try:
            self._put(name, *fields, descriptors=descriptors)
        except PeerError as error:
            self._unread(self.child, error)

    def _put(self, name: str, *fields: int | str, descriptors: Sequence[int] = ()) -> None:
        """Send it a message. Raises PeerError."""
        if self._channel is not None and self.is_attested:
            self._channel.send(name, *fields, descriptors=descriptors)

    def _unread(self, child: Child | None, error: PeerError) -> None:
        if child is self.child:
            self.kill(f"does not read its channel: {error.reason}")


def _packet_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a socket that keeps packets apart; neither waits."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def queued_bytes(writer: socket.socket) -> int:
    """Return what was sent on a socket of this host and is not read yet, as the kernel counts it. Raises OSError."""
    queued: int = struct.unpack("i", fcntl.ioctl(writer, termios.TIOCOUTQ, bytes(4)))[0]
    return queued
