"""Windows of sessions out of what the gate counts: nothing is lost, nothing is unbounded, and only deeds have rows."""

from __future__ import annotations

import socket

import pytest
from fakes.memory_host import MemoryHost

from tlsrt.channels.control.telemetry import (
    LOOKS,
    NUMBER_MAX,
    ROWS_MAX,
    UNKNOWN,
    Row,
    Window,
    bit_of,
    pack_rows,
    parse_rows_untrusted,
)
from tlsrt.channels.tls.epoll_transport import EpollTransport
from tlsrt.loops.gate.state import GateSession, Origin
from tlsrt.loops.primary.telemetry import TRACKED_MAX, Telemetry

ADMIN, CONSOLE = "client/admin", "third/console"


class Watched:
    """A world whose gate is looked at; bytes as a kernel would count them."""

    def __init__(self) -> None:
        self.world = MemoryHost()
        self.moved: tuple[int, int] | None = (0, 0)
        self.telemetry = Telemetry(lambda connection: self.moved)

    def send(self, subject: str, data: bytes | None = None) -> str:
        origin = self.world.origins["client"] if subject == ADMIN else self.world.origin(subject)
        return self.world.gate.check_untrusted(data or self.world.request(subject), origin, self.world.now).reason

    def looks(self, count: int = LOOKS) -> list[Row]:
        return [row for _ in range(count) for row in self.telemetry.sample(self.world.gate.each_session)]


@pytest.fixture
def watched() -> Watched:
    one = Watched()
    one.send(ADMIN)
    one.send(CONSOLE)
    assert one.looks() == []  # of a gate that has just begun its sessions are known by now
    return one


def test_what_a_client_did_in_a_window(watched: Watched) -> None:
    for _ in range(3):
        assert watched.send(ADMIN) == ""
    watched.looks(1)
    watched.send(ADMIN)
    watched.moved = (700, 9000)
    [(session, window)] = watched.looks(LOOKS - 1)
    assert session == watched.world.session(ADMIN)
    assert window == Window(4, 700, 9000, bit_of("secondary/store.get"), bit_of("secondary/store"), 0, 5, 2, 3)
    assert watched.looks() == []  # idle
    assert parse_rows_untrusted(pack_rows([(session, window)])) == [(session, window)]


def test_a_component_has_no_bytes_of_its_own(watched: Watched) -> None:
    watched.send(CONSOLE)
    [(_, window)] = watched.looks()
    assert (window.frames, window.bytes_in, window.bytes_out) == (1, UNKNOWN, UNKNOWN)


def test_what_was_called_is_told_as_a_set_and_what_was_refused_is_not_in_it(watched: Watched) -> None:
    world = watched.world
    watched.send(CONSOLE, world.request(CONSOLE, "primary/kernel", "uname"))
    assert watched.send(CONSOLE, world.request(CONSOLE, "secondary/store", "drop")) == "not_allowed"
    [(_, window)] = watched.looks()
    assert window.methods == bit_of("secondary/store.get") | bit_of("primary/kernel.uname")
    assert window.targets == bit_of("secondary/store") | bit_of("primary/kernel")


def test_refusals_count_for_whom_they_came_over(watched: Watched) -> None:
    data = watched.world.request(ADMIN)
    assert watched.send(ADMIN, data) == ""
    assert watched.send(ADMIN, data) == "replay"  # authentic once, but what it proves is old
    assert watched.send(CONSOLE, watched.world.request(CONSOLE, "secondary/store", "drop")) == "not_allowed"
    assert watched.send(CONSOLE, data) in ("session_elsewhere", "session_not_granted")  # proves nothing of console
    rows = dict(watched.looks())
    assert rows[watched.world.session(ADMIN)].refused == 1
    assert rows[watched.world.session(CONSOLE)].refused == 1
    assert watched.world.origin(CONSOLE).refused == 1


def many(count: int) -> dict[bytes, GateSession]:
    return {number.to_bytes(16, "big"): GateSession(Origin("", number)) for number in range(count)}


def test_many_sessions_have_bounded_rows_and_messages() -> None:
    telemetry, sessions = Telemetry(lambda connection: None), many(TRACKED_MAX + 10)
    telemetry.sample(sessions)
    for session in sessions.values():
        session.last = 1 << 63
    pages = [telemetry.sample(sessions) for _ in range(2 * LOOKS)]
    assert max(map(len, pages)) == ROWS_MAX
    rows = [row for page in pages for row in page]
    assert len(rows) == len({name for name, _ in rows}) == TRACKED_MAX
    assert all(window.frames == NUMBER_MAX - 1 for _, window in rows)


def test_who_has_gone_is_forgotten() -> None:
    telemetry, sessions = Telemetry(lambda connection: None), many(50)
    for _ in range(2 * LOOKS):
        telemetry.sample(sessions)
    sessions.clear()
    for _ in range(LOOKS):
        assert telemetry.sample(sessions) == []
    assert not telemetry._seen


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_the_kernel_counts_the_bytes_of_a_connection(family: socket.AddressFamily) -> None:
    listener = socket.socket(family)
    listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
    listener.listen()
    with listener, socket.socket(family) as ours:
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
        with theirs:
            wire = EpollTransport.__new__(EpollTransport)
            wire._socket = ours
            before = wire.bytes_moved()
            if family == socket.AF_UNIX:
                assert before is None
                return
            assert before is not None
            theirs.sendall(bytes(3000))
            ours.recv(3000, socket.MSG_WAITALL)
            ours.sendall(bytes(500))
            theirs.recv(500, socket.MSG_WAITALL)
            theirs.sendall(b"x")  # carries the acknowledgement
            ours.recv(1)
            after = wire.bytes_moved()
            assert after is not None
            assert (after[0] - before[0], after[1] - before[1]) == (3001, 500)
    assert wire.bytes_moved() is None  # it is closed
