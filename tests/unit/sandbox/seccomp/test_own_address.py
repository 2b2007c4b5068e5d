"""Which addresses are this host's own."""

from __future__ import annotations

import errno
import ipaddress
import socket

import pytest

from tlsrt.sandbox.seccomp.own_address import is_own_address


@pytest.mark.parametrize(
    ("address", "is_own"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("192.0.2.77", False), ("::1", True), ("2001:db8::77", False)],
)
def test_each_address_that_a_socket_can_have_is_the_hosts_own(address: str, is_own: bool) -> None:
    assert is_own_address(ipaddress.ip_address(address).packed) is is_own


@pytest.mark.parametrize(
    ("number", "is_own"), [(errno.EAFNOSUPPORT, False), (errno.EMFILE, True), (errno.ENFILE, True)]
)
def test_a_socket_that_cannot_be_had_ends_nothing(monkeypatch: pytest.MonkeyPatch, number: int, is_own: bool) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(socket, "socket", refuse)
    assert is_own_address(socket.inet_pton(socket.AF_INET6, "2001:db8::1")) is is_own
