"""When something is sent to a collector, and what becomes of it if that ends, is late or says no."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.export import DROPPED_S, Trouble
from tlsrt.supervisor.export import sender as module
from tlsrt.supervisor.export.backlog import Backlog
from tlsrt.supervisor.export.connection import ConnectionEnded
from tlsrt.supervisor.export.sender import (
    GATHER_S,
    OPEN_S,
    SILENT_S,
    UNSURE_S,
    HttpSender,
    Sender,
    SyslogSender,
    Target,
)

TARGET = Target(0, "192.0.2.1:1", "/v1/logs", "", None)


@dataclass
class FakeConnection:
    """A connection whose other end the test is."""

    is_open: bool = True
    is_drained: bool = True
    written: bytes = b""
    heard: bytes = b""
    ends: Trouble | None = None
    says_end: bool = False
    is_closed: bool = False

    def fileno(self) -> int:
        return 7

    def write(self, data: bytes) -> None:
        self.written += data

    def advance_untrusted(self) -> bytes:
        heard, self.heard = self.heard, b""
        self.is_open = self.is_open and not self.says_end
        if self.ends is not None and not heard:
            raise ConnectionEnded(self.ends, "")
        return heard

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Stage:
    """A sender, its time and what it reports."""

    kind: str
    now: float = 1000.0
    asked: int = 0
    has_failed: bool = False
    troubles: list[Trouble] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    made: list[FakeConnection] = field(default_factory=list)
    refuses: Exception | None = None

    def __post_init__(self) -> None:
        if self.kind == "syslog":
            self.sender: Sender = SyslogSender(TARGET, self, self._opened, self.clock)  # type: ignore[arg-type]
        else:
            self.sender = HttpSender(TARGET, self, self._opened, self.clock, b"".join, "1")  # type: ignore[arg-type]

    def _opened(self, descriptor: int, target: Target) -> FakeConnection:
        if self.refuses is not None:
            raise self.refuses
        self.made.append(FakeConnection())
        return self.made[-1]

    def clock(self) -> float:
        return self.now

    def connect(self, number: int, *, has_failed: bool) -> None:
        self.asked += 1
        self.has_failed = has_failed

    def trouble(self, number: int, trouble: Trouble, detail: str) -> None:
        self.troubles.append(trouble)

    def dropped(self, number: int, count: int) -> None:
        self.drops.append(count)

    def put(self, *items: bytes) -> None:
        for item in items:
            self.sender.put(item, is_grave=False)

    def connected(self) -> FakeConnection:
        """Wait until it asks, and connect it."""
        before = self.asked
        for _ in range(1000):
            self.sender.look()
            if self.asked > before:
                self.sender.connected(7)
                return self.made[-1]
            self.now += 0.1
        raise AssertionError("it never asked")

    def ready(self) -> None:
        """Do what the process does when something comes on the connection."""
        self.sender.ready()
        self.sender.look()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.sender.look()


def test_nothing_to_send_asks_for_nothing() -> None:
    stage = Stage("http")
    stage.wait(1000)
    assert stage.asked == 0 and stage.sender.next_at() is None
    stage.put(b"a")
    stage.sender.look()
    assert stage.asked == 0 and stage.sender.next_at() == stage.now + GATHER_S


def test_a_request_is_all_that_waits_and_ends_with_its_answer() -> None:
    stage = Stage("http")
    stage.put(b"a", b"b")
    connection = stage.connected()
    assert connection.written.endswith(b"Content-Length: 2\r\nConnection: close\r\n\r\nab")
    connection.heard = b"HTTP/1.1 200 OK\r\n\r\n"
    stage.ready()
    assert connection.is_closed and stage.sender.is_idle and stage.troubles == []


@pytest.mark.parametrize("status", [b"429 No", b"503 No", b"502 No", b"504 No"])
def test_what_may_pass_is_sent_again(status: bytes) -> None:
    stage = Stage("http")
    stage.put(b"a")
    connection = stage.connected()
    connection.heard = b"HTTP/1.1 " + status + b"\r\nRetry-After: 20\r\n\r\n"
    before = stage.now
    stage.ready()
    assert stage.troubles == [Trouble.REFUSED]
    connection = stage.connected()
    assert stage.now >= before + 20 and connection.written.endswith(b"a")
    connection.heard = b"HTTP/1.1 200 OK\r\n\r\n"
    stage.ready()
    assert stage.troubles == [Trouble.REFUSED, Trouble.NONE] and stage.drops == []


def test_what_it_will_never_take_is_dropped_and_told() -> None:
    stage = Stage("http")
    stage.put(b"a", b"b", b"c")
    stage.connected().heard = b"HTTP/1.1 400 Bad\r\n\r\n"
    stage.ready()
    stage.wait(100)
    assert stage.drops == [3] and stage.sender.is_idle


@pytest.mark.parametrize("kind", ["http", "syslog"])
def test_a_silent_one_is_left_and_tried_later_each_time(kind: str) -> None:
    stage = Stage(kind)
    stage.put(b"a")
    for _ in range(3):
        connection = stage.connected()
        connection.is_open = kind == "http"
        if kind == "syslog":  # TLS never ends
            connection.written, connection.is_drained = b"", False
            stage.sender._taken = stage.sender._taken or [b"a"]
        stage.wait(max(OPEN_S, SILENT_S) + 1)
        assert connection.is_closed
    assert stage.troubles == [Trouble.SILENT] and stage.sender.connection is None


def test_syslog_that_may_be_lost_is_said_again_twice_and_then_counted() -> None:
    stage = Stage("syslog")
    stage.put(b"a", b"b")
    for _ in range(3):
        connection = stage.connected()
        assert connection.written == b"ab"
        connection.ends = Trouble.CLOSED
        stage.ready()
    stage.wait(100)
    assert stage.drops == [2] and stage.sender.is_idle and stage.troubles == [Trouble.CLOSED]


def test_syslog_on_a_connection_that_stays_is_said_once() -> None:
    stage = Stage("syslog")
    stage.put(b"a")
    connection = stage.connected()
    stage.put(b"b")
    stage.wait(UNSURE_S)
    stage.put(b"c")
    assert connection.written == b"abc"
    connection.ends = Trouble.CLOSED
    stage.ready()
    assert stage.connected().written == b"c" and stage.drops == []


def test_syslog_is_bounded_by_no_acknowledgement() -> None:
    stage = Stage("syslog")
    stage.put(b"a")
    connection = stage.connected()
    for _ in range(10):
        stage.put(b"x" * 60_000)
    assert len(connection.written) == 600_001
    connection.ends = Trouble.CLOSED
    stage.ready()
    assert len(stage.connected().written) <= 64 * 1024


def test_the_last_socket_is_for_the_end() -> None:
    stage = Stage("http")
    stage.sender.keep_last(9)
    stage.put(b"a")
    stage.sender.finish()
    stage.sender.finish()
    assert len(stage.made) == 1 and stage.made[0].written.endswith(b"a") and stage.asked == 0


@given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=60), st.integers(1, 2000))
def test_a_backlog_is_bounded_counts_what_it_drops_and_keeps_the_order(
    items: list[tuple[int, bool]], most: int
) -> None:
    backlog = Backlog(4096)
    kept = []
    for number, (size, is_grave) in enumerate(items):
        before = len(backlog)
        backlog.put(number.to_bytes(2, "big") + bytes(size), is_grave=is_grave)
        kept += [number] if len(backlog) > before else []
    assert sum(128 + 2 + items[number][0] for number in kept) <= 4096
    assert backlog.take_dropped() == len(items) - len(kept)
    taken = backlog.take(most, 100)
    backlog.put_back(taken)
    found = [int.from_bytes(one[:2], "big") for one in backlog.take(1 << 30, 1000)]
    assert found == kept and len(backlog) == 0


def test_a_flood_of_lines_leaves_room_for_alarms() -> None:
    backlog = Backlog(10_000)
    for _ in range(1000):
        backlog.put(b"line", is_grave=False)
    backlog.take_dropped()
    backlog.put(b"alarm", is_grave=True)
    assert backlog.take_dropped() == 0 and backlog.take(1 << 30, 1000)[-1] == b"alarm"


@pytest.mark.parametrize("statuses", [(b"503 No", b"200 OK"), (b"503 No", b"garbage", b"200 OK")])
def test_one_that_changes_its_mind_is_told_no_more_often_than_any_other(statuses: tuple[bytes, ...]) -> None:
    stage, began = Stage("http"), 1000.0
    while stage.now < began + 200:
        for status in statuses:
            stage.put(b"a")
            stage.connected().heard = b"HTTP/1.1 " + status + b"\r\n\r\n"
            stage.ready()
    assert 2 <= len(stage.troubles) <= (stage.now - began) / DROPPED_S + 1
    assert all(one is not other for one, other in zip(stage.troubles, stage.troubles[1:], strict=False))


def test_what_has_become_of_one_is_told_though_nothing_else_happens() -> None:
    stage = Stage("http")
    stage.put(b"a")
    stage.connected().heard = b"HTTP/1.1 503 No\r\n\r\n"
    stage.ready()
    told_at = stage.now
    stage.connected().heard = b"HTTP/1.1 200 OK\r\n\r\n"
    stage.ready()
    assert stage.troubles == [Trouble.REFUSED] and stage.sender.next_at() == told_at + DROPPED_S
    stage.now = told_at + DROPPED_S
    stage.sender.look()
    assert stage.troubles == [Trouble.REFUSED, Trouble.NONE] and stage.sender.next_at() is None


def test_a_way_that_is_too_slow_for_a_request_gets_smaller_ones() -> None:
    stage = Stage("http")
    stage.put(*(b"x" * 1000 for _ in range(1000)))
    sizes = []
    while not stage.sender.is_idle:
        connection = stage.connected()
        sizes.append(connection.written.count(b"x"))
        if sizes[-1] > 100_000:
            stage.wait(SILENT_S + 1)
        else:
            connection.heard = b"HTTP/1.1 200 OK\r\n\r\n"
            stage.ready()
    assert max(sizes) > 500_000 and sum(size for size in sizes if size <= 100_000) == 1_000_000 and stage.drops == []
    assert len(sizes) < 30


@pytest.mark.parametrize("kind", ["http", "syslog"])
def test_last_words_with_the_end_are_an_end(kind: str) -> None:
    stage = Stage(kind)
    stage.put(b"a")
    connection = stage.connected()
    stage.wait(UNSURE_S)
    connection.heard, connection.says_end = b"H", True
    stage.ready()
    assert connection.is_closed and stage.troubles == [Trouble.CLOSED]
    stage.put(b"b")
    assert stage.connected().written.endswith(b"b")


def test_a_name_that_tls_refuses_is_a_trouble_and_no_end() -> None:
    stage = Stage("syslog", refuses=UnicodeError("label empty or too long"))
    stage.put(b"a")
    for _ in range(2):
        asked = stage.asked
        while stage.asked == asked:
            stage.wait(0.1)
        stage.sender.connected(7)
    stage.sender.look()
    assert stage.troubles == [Trouble.TLS] and not stage.sender.is_idle


def test_an_idle_one_that_does_not_read_what_tls_says_is_left() -> None:
    stage = Stage("syslog")
    stage.put(b"a")
    connection = stage.connected()
    stage.wait(UNSURE_S)
    connection.is_drained = False
    stage.put(b"b")
    assert stage.sender.next_at() == stage.now + SILENT_S
    stage.wait(SILENT_S)
    assert connection.is_closed and stage.troubles == [Trouble.SILENT]
    connection = stage.connected()
    connection.is_drained = False  # with what is not sure yet
    stage.wait(UNSURE_S)
    assert connection.is_closed


def test_times_are_those_that_the_page_says() -> None:
    assert (module.OPEN_S, module.SILENT_S, module._CAP_S) == (10.0, 20.0, 60.0)


@pytest.mark.parametrize("kind", ["http", "syslog"])
def test_what_a_collector_does_not_surely_have_is_for_the_one_that_follows(kind: str) -> None:
    stage = Stage(kind)
    stage.put(b"a", b"b")
    connection = stage.connected()
    stage.put(b"c")
    if kind == "syslog":
        assert not stage.has_failed and connection.written == b"abc"
    stage.sender.leave()
    assert connection.is_closed and stage.sender.backlog.take(1 << 20, 10) == [b"a", b"b", b"c"]


def test_one_that_has_failed_is_asked_for_as_such() -> None:
    stage = Stage("http")
    stage.put(b"a")
    stage.connected().ends = Trouble.CLOSED
    stage.ready()
    stage.connected().heard = b"HTTP/1.1 200 OK\r\n\r\n"
    assert stage.has_failed
    stage.ready()
    stage.put(b"b")
    stage.connected()
    assert not stage.has_failed


def test_the_end_of_a_trouble_is_told_by_the_one_that_follows() -> None:
    stage = Stage("http")
    stage.sender.follow(Trouble.TLS)
    stage.put(b"a")
    stage.connected().heard = b"HTTP/1.1 200 OK\r\n\r\n"
    stage.ready()
    assert stage.troubles == [Trouble.NONE]


@pytest.mark.parametrize("ends", [Trouble.CLOSED, Trouble.TLS])
def test_a_trouble_of_the_one_that_follows_is_told_though_it_is_the_same(ends: Trouble) -> None:
    stage = Stage("http")
    stage.sender.follow(Trouble.CLOSED)
    stage.put(b"a")
    stage.connected().ends = ends
    stage.ready()
    assert stage.troubles == [ends]
    stage.connected().heard = b"HTTP/1.1 200 OK\r\n\r\n"
    stage.ready()
    stage.wait(DROPPED_S)
    assert stage.troubles == [ends, Trouble.NONE]
