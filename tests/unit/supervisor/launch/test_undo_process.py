"""An undo that outlives its component: what it may be, and what becomes of it, on the links of a namespace."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.loops.external.interface_state import InterfaceState
from tlsrt.loops.external.undo_requests import undo_requests
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.helper.netlink import message
from tlsrt.supervisor.launch.undo_process import HEADER, MOST_MESSAGES, checked_untrusted, keep
from tlsrt.supervisor.launch.undo_relay import MOST_AT_ONCE, UndoRelay
from tlsrt.supervisor.process.undo_processes import UndoProcesses

_NEW_NETWORK = 0x40000000
LO = 1
IS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")


def state(mtu: int, *, up: bool = True, **more: object) -> InterfaceState:
    return {"up": up, "mtu": mtu, "addresses": {}, "routes": [], **more}  # type: ignore[typeddict-item]


BEFORE = state(1400, addresses={"192.0.2.1/24": None}, routes=[("198.51.100.0/24", "192.0.2.9", 7, "static")])
CHANGED = state(9000, up=False, addresses={"203.0.113.1/24": None})
REQUESTS = undo_requests({"lo": BEFORE}, {"lo": CHANGED}, {"lo": LO})


def in_namespace(body: Callable[[], None]) -> int:
    """Do something in a network namespace of its own, in a fork; return its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 70
    try:
        syscalls.unshare(_NEW_NETWORK)
        body()
        code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def kept(requests: bytes, seconds: int = 60, most_s: int = 60) -> tuple[int, socket.socket, bytes]:
    """Have an undo process begin: its pid, the component's end, what it says."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os._exit(keep(theirs.detach(), most_s))
    theirs.close()
    ours.sendall(HEADER.pack(len(requests), seconds) + requests)
    return pid, ours, ours.recv(64)


def mtu() -> int:
    """Of lo in the namespace of this thread: /sys shows another one's."""
    with socket.socket() as asked:
        found = fcntl.ioctl(asked, 0x8921, struct.pack("16si12x", b"lo", 0))  # SIOCGIFMTU
        return int(struct.unpack_from("=16xi", found)[0])


def routes() -> str:
    return Path("/proc/thread-self/net/route").read_text(encoding="ascii")


def until(what: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@IS_ROOT
def test_it_is_undone_at_the_end_of_the_component() -> None:
    def body() -> None:
        pid, ours, said = kept(REQUESTS)
        assert (said, mtu()) == (b"K", 65536), "nothing is done as long as the component lives"
        os.kill(pid, signal.SIGTERM)  # who ends a host does not mean the undo
        ours.close()
        until(lambda: mtu() == 1400)
        assert os.waitpid(pid, 0)[1] == 0
        assert "006433C6\t090200C0" in routes(), "the route of before, which the link has lost, is there again"

    assert in_namespace(body) == 0


@IS_ROOT
def test_it_is_undone_when_its_time_is_over_and_not_when_it_was_released() -> None:
    def body() -> None:
        late, ours, _ = kept(REQUESTS, seconds=1)
        assert os.waitpid(late, 0)[1] == 0 and mtu() == 1400
        ours.close()
        released, ours, _ = kept(undo_requests({"lo": state(2000)}, {"lo": state(1400)}, {"lo": LO}))
        ours.sendall(b"D")
        assert os.waitpid(released, 0)[1] == 0 and mtu() == 1400

    assert in_namespace(body) == 0


@IS_ROOT
def test_what_may_not_be_kept_is_refused() -> None:
    def body() -> None:
        for requests, seconds, reason in (
            (REQUESTS, 61, b"Rout_of_range"),  # longer than the configuration has it
            (REQUESTS, 0, b"Rout_of_range"),
            (message(16, 0x600, 0, bytes(16)), 9, b"Rnot_an_undo"),  # RTM_NEWLINK makes links
            (message(19, 0, 0, bytes(16) + struct.pack("=HH4s", 8, 3, b"x0\0\0")), 9, b"Rnot_an_undo"),  # another name
            (b"\xff" * 40, 9, b"Rbad_netlink"),
        ):
            pid, ours, said = kept(requests, seconds)
            assert said == reason
            ours.close()
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1 and mtu() == 65536

    assert in_namespace(body) == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_requests_or_the_one_error(data: bytes) -> None:
    try:
        found = checked_untrusted(data)
    except PeerError:
        return
    assert all(one.type in (19, 20, 21, 24, 25) for one in found)


def test_too_many_requests_are_refused() -> None:
    with pytest.raises(PeerError, match="too_many"):
        checked_untrusted(message(21, 0, 0, bytes(8)) * (MOST_MESSAGES + 1))


@pytest.fixture
def relay() -> Iterator[UndoRelay]:
    # A thread that another test left does not block it, and would end all by it.
    before = signal.signal(signal.SIGIO, lambda number, frame: None)
    made = UndoRelay()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    made.come_home()
    yield made
    os.close(made.there)
    made.close()
    signal.sigtimedwait([signal.SIGIO], 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])
    signal.signal(signal.SIGIO, before)


@IS_ROOT
def test_so_many_are_kept_at_once_and_no_more(relay: UndoRelay) -> None:
    ends: list[socket.socket] = []

    def asked() -> socket.socket:
        ours, theirs = socket.socketpair()
        ends.append(ours)
        ours.settimeout(20)
        UndoProcesses(relay.there).hand_over(theirs, 60, f"a.b/{len(ends)}")
        theirs.close()
        relay.serve()
        ours.sendall(HEADER.pack(0, 60))
        return ours

    for _ in range(MOST_AT_ONCE):
        assert asked().recv(64) == b"K"
    with pytest.raises(ConnectionError):
        asked().recv(64)
    for one in ends:
        one.close()


def test_without_a_launcher_nothing_keeps_it() -> None:
    ours, theirs = socket.socketpair()
    UndoProcesses().hand_over(theirs, 60, "a.b/ip")
    theirs.close()
    assert ours.recv(1) == b""
    ours.close()


@IS_ROOT
def test_the_next_trial_of_a_component_begins_when_the_one_before_is_undone(relay: UndoRelay) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    for ours, theirs in pairs:
        UndoProcesses(relay.there).hand_over(theirs, 60, "a.b/ip")
        theirs.close()
        ours.sendall(HEADER.pack(0, 60))
    relay.serve()
    (first, _), (second, _) = pairs
    assert first.recv(64) == b"K"
    relay.serve()
    second.setblocking(False)
    with pytest.raises(BlockingIOError):
        second.recv(64)
    first.close()

    def has_begun() -> bool:
        relay.serve()
        try:
            return second.recv(64) == b"K"
        except BlockingIOError:
            return False

    until(has_begun)
    second.close()
