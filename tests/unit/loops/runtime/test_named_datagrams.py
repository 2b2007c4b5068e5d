"""Datagrams that name their host: the socket is connected to that host first, and again for another one."""

from __future__ import annotations

import select
import socket

from tlsrt.loops.runtime.named_datagrams import connecting_first

_send = connecting_first(socket.socket.sendto, {-7})


def _peer() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(10)
    return made


def test_a_socket_is_of_the_host_that_it_has_spoken_to_last() -> None:
    with _peer() as one, _peer() as other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(10)
        for peer in (one, one, other):
            assert _send(own, b"ping", peer.getsockname()) == 4
            assert own.getpeername() == peer.getsockname()
            data, where = peer.recvfrom(8)
            peer.sendto(data.upper(), where)
            assert own.recvfrom(8) == (b"PING", peer.getsockname())
        assert _send(own, b"more", 0, other.getsockname()) == 4
        assert other.recv(8) == b"more"


def test_an_error_of_the_host_before_is_not_told_of_the_next_one() -> None:
    with _peer() as other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        with _peer() as closed:
            address = closed.getsockname()
        assert _send(own, b"ping", address) == 4
        assert select.select([own], [], [], 10)[0], "it was refused"
        assert _send(own, b"ping", other.getsockname()) == 4
        assert other.recv(8) == b"ping"


def test_a_granted_socket_and_others_send_as_ever() -> None:
    with _peer() as peer, _peer() as granted:
        send = connecting_first(socket.socket.sendto, {granted.fileno()})
        assert send(granted, b"ping", peer.getsockname()) == 4
        assert peer.recvfrom(8) == (b"ping", granted.getsockname())
        try:
            granted.getpeername()
        except OSError:
            return
        raise AssertionError("it was connected")
