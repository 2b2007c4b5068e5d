"""The supervisor's side of the export process: entries for it, and sockets to collectors when it asks for them.

Entries are put on a socket that outlives that process, so what is there when it dies is sent by the next one. What it
has no room for is left out and counted; nothing here waits, but for a moment at the very end of a stop.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tlsrt import __version__
from tlsrt.channels.control.export import EXPORT, Trouble
from tlsrt.config.collectors import Collector, CollectorKind
from tlsrt.config.files import open_regular
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.events.journal import fields_of
from tlsrt.supervisor.events.log_entry import LogEntry
from tlsrt.supervisor.messages.exported_entry import ExportedEntry, encode_entry
from tlsrt.supervisor.process.children import Child, Children, HelperStart
from tlsrt.supervisor.process.memfd import file_in_memory
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
_PEM_MAX = 1 << 20
_TROUBLES = {
    Trouble.UNREACHABLE: "it cannot be reached", Trouble.TLS: "its certificate or its TLS is not right",
    Trouble.SILENT: "it does not answer", Trouble.CLOSED: "it ends connections",
    Trouble.REFUSED: "it refuses what it is sent",
}  # fmt: skip


class ExportProcess(ServiceProcess):
    """The one process that sends log and spans away, over all its incarnations."""

    def __init__(self, context: Context, loops: Loops, collectors: Sequence[Collector], host: str) -> None:
        super().__init__(context, NAME, EXPORT)
        self._loops = loops
        self._collectors = collectors
        self._host = host
        self._words = Bucket(_WORDS_BURST, _WORDS_PER_S)
        self._asked: set[int] = set()  # collectors that a connection is due for
        self._connected_at: dict[int, float] = {}
        self._lost = 0
        self._writer: socket.socket | None = None
        self._reader: socket.socket | None = None
        self._room = 0  # bytes as the kernel counts them
        self._spans: dict[str, socket.socket] = {}  # process -> the end that is read
        if collectors:
            self._writer, self._reader = _packet_pair()
            self._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._room = self._writer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    def is_needed(self, config: Config) -> bool:
        return bool(self._collectors)

    def fork(self, children: Children, start: HelperStart) -> Child:
        return children.spawn_helper(replace(start, name=NAME))

    # Entries

    def write(self, entry: LogEntry) -> bool:
        """Put an entry on its way, or count it as lost. Always True: who writes keeps nothing for this."""
        if self._writer is None:
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
        self._send("host", self._host, __version__)
        for number, collector in enumerate(self._collectors):
            try:
                files = files_of(collector)
            except (ConfigError, OSError) as error:
                where = f"{collector.kind} {collector.place}"
                self._context.console.warning(NAME, f"cannot send to {where}: {error}")
                self._context.events.emit("collector_lost", NAME, f"{where}: its files cannot be used")
                continue
            fields = (number, str(collector.kind), collector.place, collector.path, collector.name)
            self._send("collector", *fields, descriptors=files)
            for descriptor in files:
                os.close(descriptor)
        if self._reader is not None:
            self._send("entries", descriptors=(self._reader.fileno(),))
        for process, reader in self._spans.items():
            self._send("spans", process, descriptors=(reader.fileno(),))

    def stopping(self) -> None:
        """Go on: how the host stops is told, too."""

    def stopped(self, exit_code: int) -> None:
        self.is_stopping, self.is_wanted = True, False
        for number in range(len(self._collectors)):
            self._hand_over(number, "last")
        self._close_channel()
        if self._writer is not None and self._reader is not None:
            self._writer.close()
            self._reader.close()
        for process in [*self._spans]:
            self._forget(process)
        if self.child is not None:
            waiting = select.poll()
            waiting.register(self.child.pidfd, select.POLLIN)
            waiting.poll(LAST_MS)

    def lost(self) -> None:
        self._asked.clear()

    # Spans

    def loop_active(self, loop: Loop) -> None:
        """Hand a process that serves a socket for its spans, and its other end to who sends them."""
        if not any(one.kind is CollectorKind.OTLP_TRACES for one in self._collectors):
            return
        try:
            theirs, ours = _packet_pair()
        except OSError as error:
            self._context.console.warning(NAME, f"has no spans of {loop.name}: {error.strerror}")
            return
        with theirs:
            traces = self._context.current.config.traces
            how = round(traces.ratio * 1e9), round(traces.most_per_s * 1000)
            self._loops.tell(loop, "spans", *how, descriptors=(theirs.fileno(),))
        self._forget(loop.name)
        self._spans[loop.name] = ours
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
        if message.number >= len(self._collectors):
            raise PeerError("no_such_collector")
        collector = self._collectors[message.number]
        now = self._context.event_loop.now
        if name == "connect":
            if message.number in self._asked:
                raise PeerError("hurried")
            self._asked.add(message.number)
            wait_s = self._connected_at.get(message.number, -LEAST_S) + LEAST_S - now
            self._context.event_loop.call_later(max(0.0, wait_s), partial(self._connect, message.number, self.child))
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

    def _connect(self, number: int, asker: Child | None) -> None:
        if asker is not self.child or number not in self._asked:
            return  # another one has asked for another connection
        self._asked.discard(number)
        self._connected_at[number] = self._context.event_loop.now
        self._hand_over(number, "connected")

    def _hand_over(self, number: int, name: str) -> None:
        try:
            descriptor = connecting_socket(self._collectors[number])
        except OSError:
            if name == "connected":  # the last one is not waited for, and a connection that is there goes on
                self._send("unreachable", number)
            return
        self._send(name, number, descriptors=(descriptor,))
        os.close(descriptor)

    def _send(self, name: str, *fields: int | str, descriptors: Sequence[int] = ()) -> None:
        if self._channel is None or not self.is_attested:
            return
        try:
            self._channel.send(name, *fields, descriptors=descriptors)
        except PeerError as error:
            self.kill(f"does not read its channel: {error.reason}")


def _packet_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a socket that keeps packets apart; neither waits."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def queued_bytes(writer: socket.socket) -> int:
    """Return what was sent on a socket of this host and is not read yet, as the kernel counts it. Raises OSError."""
    queued: int = struct.unpack("i", fcntl.ioctl(writer, termios.TIOCOUTQ, bytes(4)))[0]
    return queued


def connecting_socket(collector: Collector) -> int:
    """Return a socket that is connected to a collector, or being so. Raises OSError."""
    family = socket.AF_INET6 if ":" in collector.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as made:
        try:
            made.connect((collector.host, collector.port))
        except BlockingIOError:
            pass
        return made.detach()


def files_of(collector: Collector) -> tuple[int, int, int]:
    """Return its CA, a certificate and its key as sealed memory, empty for those that it has not.

    Their bytes are copied by the kernel: the supervisor reads no key. Raises ConfigError and OSError.
    """
    opened: list[int] = []
    try:
        for path in (collector.ca, collector.certificate, collector.key):
            source = open_regular(path, f"a file of {collector.kind}") if path is not None else -1
            try:
                opened.append(file_in_memory(source, _PEM_MAX))
            finally:
                if source >= 0:
                    os.close(source)
    except (ConfigError, OSError):
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened[0], opened[1], opened[2]
