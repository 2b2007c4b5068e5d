"""What the kernel says of sockets: of real ones, and of any bytes."""

from __future__ import annotations

import contextlib
import socket

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.supervisor.process.socket_diag import parse_untrusted, sockets_now

SO_COOKIE = 57


def test_a_connection_is_known_by_its_cookie_with_what_it_carried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as one:
        peer, _ = listener.accept()
        with peer:
            one.sendall(bytes(1000))
            peer.sendall(bytes(10))
            assert len(peer.recv(1000, socket.MSG_WAITALL)) == 1000 and len(one.recv(10, socket.MSG_WAITALL)) == 10
            found = sockets_now()[one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)]
    assert found.sent in (1000, 1001) and found.received == 10  # the kernel counts the SYN
    assert found.cookie not in sockets_now()


def test_a_connected_datagram_socket_is_there_and_carries_nothing() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", 9))
        found = sockets_now()[one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)]
    assert (found.sent, found.received) == (0, 0)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_the_one_error(data: bytes) -> None:
    with contextlib.suppress(PeerError, OSError):
        parse_untrusted(data)
