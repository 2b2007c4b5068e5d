"""What was offered as a listener and is none, and how a call reads."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

import pytest

from tlsrt.errors import SandboxError
from tlsrt.sandbox.seccomp.notify import Notification, answer_with_descriptor, close_taken_listener, take_listener


@pytest.fixture
def own() -> int:
    return os.pidfd_open(os.getpid())


def test_nothing_was_said_yet(own: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        assert take_listener(ours.fileno(), own) is None
    os.close(own)


@pytest.mark.parametrize("said", [b"x", b"listener", struct.pack("=I", 0), struct.pack("=I", 1 << 30), b"12345678"])
def test_what_is_no_listener_is_not_taken_and_costs_no_descriptor(own: int, said: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(said)
        before = len(os.listdir("/proc/self/fd"))
        assert take_listener(ours.fileno(), own) == -1
        assert len(os.listdir("/proc/self/fd")) == before
        with pytest.raises(BlockingIOError):
            theirs.recv(8, socket.MSG_DONTWAIT)
    os.close(own)


def test_a_process_whose_listener_was_not_taken_does_not_seal() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs, pytest.raises(SandboxError, match="has not taken the listener"):
        close_taken_listener(theirs.fileno(), -1)
    with pytest.raises(SandboxError, match="has not taken the listener"):
        close_taken_listener(None, -1)


def test_a_signal_in_between_leaves_no_call_without_its_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has added nothing when it says EINTR; the call is answered with the number, once there is one."""
    asked: list[int] = []

    def interrupted(listener: int, request: int, argument: bytes) -> int:
        asked.append(request & 0xFF)
        if len(asked) in (1, 3):
            raise InterruptedError(errno.EINTR, "a child has ended")
        if request & 0xFF == 1:
            assert struct.unpack("=QqiI", argument) == (5, 7, 0, 0)
        return 7

    monkeypatch.setattr(fcntl, "ioctl", interrupted)
    answer_with_descriptor(-1, Notification(5, 2, "socket", (0, 0, 0, 0, 0, 0)), 0)
    assert asked == [3, 3, 1, 1]


def test_a_call_reads_as_it_was_made() -> None:
    call = Notification(1, 2, "execve", (0, 4095, 4096, 1 << 40, 0, 0))
    assert str(call) == "execve(0, 4095, 0x1000, 0x10000000000, 0, 0)"
