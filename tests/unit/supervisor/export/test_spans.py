"""Spans of processes: each is read as fast as it may say them, and what is none is left out and counted."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator

import pytest

from tlsrt.channels.control.spans import SPANS_BURST, Span, SpanKind, encode_span
from tlsrt.supervisor.export.spans import PAUSE_S, SpanReaders

GOOD = Span(b"t" * 16, b"s" * 8, bytes(8), SpanKind.SERVER, "third/io/read", "third/io", "client/x", 1, 2, "", "", 0)


class Stage:
    """Readers, their time, and the ends of processes."""

    def __init__(self) -> None:
        self.now, self.taken, self.left_out = 1.0, list[bytes](), 0
        self.epoll = select.epoll()
        self.readers = SpanReaders(self.epoll, lambda: self.now, self.taken.append, self._leave_out)
        self.writers: list[socket.socket] = []

    def _leave_out(self, count: int) -> None:
        self.left_out += count

    def process(self, name: str) -> socket.socket:
        reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        writer.setblocking(False)
        self.readers.add(name, reader.detach())
        self.writers.append(writer)
        return writer

    def turn(self) -> int:
        """Read all that is to be read now; return how many sockets had something."""
        found = self.epoll.poll(0)
        for descriptor, _ in found:
            assert descriptor in self.readers
            self.readers.read_untrusted(descriptor)
        self.readers.look()
        return len(found)

    def processes(self) -> list[str]:
        return [json.loads(one)["attributes"][0]["value"]["stringValue"] for one in self.taken]


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    for writer in made.writers:
        writer.close()
    while not made.readers.is_idle:
        made.now += PAUSE_S
        made.turn()
    made.epoll.close()


def flood(writer: socket.socket) -> int:
    for number in range(100_000):
        try:
            writer.send(encode_span(GOOD))
        except BlockingIOError:
            return number
    raise AssertionError("never full")


def test_one_that_floods_is_not_looked_at_for_a_while_and_costs_another_nothing(stage: Stage) -> None:
    greedy, other = stage.process("third.bad"), stage.process("secondary")
    while not stage.readers.next_at():
        flood(greedy)
        stage.turn()
    assert len(stage.taken) == SPANS_BURST
    flood(greedy)
    other.send(encode_span(GOOD))
    assert stage.turn() == 1 and stage.processes()[-1] == "secondary"
    assert stage.turn() == 0  # nothing wakes it
    before = len(stage.taken)
    stage.now += PAUSE_S
    stage.turn()
    stage.turn()
    assert before + 45 <= len(stage.taken) <= before + 55 and set(stage.processes()[before:]) == {"third.bad"}


def test_what_is_no_span_takes_the_same_room_and_is_counted(stage: Stage) -> None:
    bad = stage.process("third.bad")
    for data in (b"x", b"\x93", encode_span(GOOD) * 9, b"y" * 60_000, encode_span(GOOD._replace(lost=40))):
        bad.send(data)
    stage.turn()
    assert stage.left_out == 4 + 40 and len(stage.taken) == 1


def test_descriptors_that_come_along_are_closed(stage: Stage) -> None:
    bad = stage.process("third.bad")
    ours, theirs = socket.socketpair()
    socket.send_fds(bad, [encode_span(GOOD)], [theirs.fileno()])
    theirs.close()
    stage.turn()
    ours.settimeout(5)
    assert ours.recv(1) == b"" and len(stage.taken) == 1
    ours.close()


def test_what_was_said_before_the_end_is_read(stage: Stage) -> None:
    writer = stage.process("third")
    writer.send(encode_span(GOOD))
    writer.close()
    assert not stage.readers.is_idle
    stage.turn()
    assert stage.processes() == ["third"] and stage.readers.is_idle


def test_two_sockets_of_one_process_have_its_room_together(stage: Stage) -> None:
    first, second = stage.process("third"), stage.process("third")
    for _ in range(3):
        flood(first)
        flood(second)
        for _ in range(4):
            stage.turn()
    assert len(stage.taken) == SPANS_BURST
