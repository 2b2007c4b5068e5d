"""What a connection to a collector keeps of what the other end does not read."""

from __future__ import annotations

import select
import socket
import ssl

import pytest

from tlsrt.channels.control.export import Trouble
from tlsrt.supervisor.export.connection import Connection, ConnectionEnded


def test_what_is_not_read_is_bounded() -> None:
    ours, theirs = socket.socketpair()
    with theirs, select.epoll() as epoll:
        connection = Connection(epoll, ours.detach(), None, "")
        connection.advance_untrusted()
        connection.write(bytes(2 << 20))  # of which the kernel takes some
        with pytest.raises(ConnectionEnded) as ended:
            connection.write(bytes(2 << 20))
        connection.close()
    assert ended.value.trouble is Trouble.SILENT


def test_a_name_that_ssl_refuses_is_a_value_error() -> None:
    ours, theirs = socket.socketpair()
    with theirs, select.epoll() as epoll, pytest.raises(ValueError, match="label"):
        Connection(epoll, ours.detach(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "logs..example.org")
