"""The broker's own promises: it never waits, whatever the process does to its socket meanwhile."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.egress import parse_egress
from tlsrt.sandbox.seccomp import broker
from tlsrt.sandbox.seccomp.broker import Broker, BrokerReply, Made, Outcome
from tlsrt.sandbox.seccomp.notify import Notification
from tlsrt.sandbox.seccomp.self_pair import Replacement

LONGEST_S = 1.0  # a connect that waits would wait for ever


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A listener whose queue is full, so that one more connect waits if it may."""
    path = tmp_path / "primary.sock"
    waiting = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        yield path
        for client in waiting:
            client.close()


def unix_address(path: str) -> bytes:
    return struct.pack("=H", socket.AF_UNIX) + path.encode() + b"\0"


def test_a_lost_race_for_the_sockets_flags_costs_a_moment(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another thread of the process had made the socket blocking again, between our two calls."""
    real = fcntl.fcntl

    def lost(descriptor: socket.socket, command: int, argument: int = 0) -> int:
        return 0 if command == fcntl.F_SETFL else real(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", lost)
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as client:
        outcome = broker._begin(client, unix_address(str(full)))
        assert client.gettimeout() is None and not client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16).strip(
            b"\0"
        )
    assert time.monotonic() - began < LONGEST_S
    assert outcome == BrokerReply(error=errno.EAGAIN)


def call_of(memory: bytes, tmp_path: Path, buses: Mapping[str, Path] = {}) -> Outcome:
    buffer = ctypes.create_string_buffer(memory, len(memory))
    with socket.socket(socket.AF_UNIX) as client:
        arguments = (client.fileno(), ctypes.addressof(buffer), len(memory), 0, 0, 0)
        own = os.pidfd_open(os.getpid())
        try:
            mine = Broker(os.getpid(), own, (), tmp_path, buses=buses)
            return mine.carry_out(Notification(1, os.getpid(), "connect", arguments), lambda: True)
        finally:
            os.close(own)


@pytest.mark.parametrize("own_path", [True, False])
def test_a_loop_reaches_its_channel_and_no_other_socket_that_it_sees(tmp_path: Path, own_path: bool) -> None:
    """By its name inside the root, or by the host's where the root was waived; a socket beside it is refused."""
    channel, other = tmp_path / "primary.sock", tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as decoy:
        for one, path in ((listener, channel), (decoy, other)):
            one.bind(str(path))
            one.listen()
        name = str(channel) if own_path else "/channel/primary.sock"
        assert call_of(unix_address(name), tmp_path) == BrokerReply()
        refused = call_of(unix_address(str(other)), tmp_path)
        assert isinstance(refused, BrokerReply) and refused.error == errno.EACCES and refused.refused
        abstract = struct.pack("=H", socket.AF_UNIX) + b"\0" + b"tlsrt"
        refused = call_of(abstract, tmp_path)
        assert isinstance(refused, BrokerReply) and refused.error == errno.EACCES


def test_under_the_name_of_a_bus_it_reaches_its_proxy_and_no_other(tmp_path: Path) -> None:
    """Also by the name that libraries have in their constants; another one's proxy and the bus itself are refused."""
    mine, other = tmp_path / "forth.one.bus-1", tmp_path / "forth.two.bus-1"
    with socket.socket(socket.AF_UNIX) as door, socket.socket(socket.AF_UNIX) as decoy:
        for one, path in ((door, mine), (decoy, other)):
            one.bind(str(path))
            one.listen()
        buses = {"/run/dbus/system_bus_socket": mine}
        buses |= {"/var/run/real/bus": mine}  # where /var/run is a folder
        for name in ("/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket", "/var/run/real/bus"):
            assert call_of(unix_address(name), tmp_path, buses) == BrokerReply()
            door.accept()[0].close()
        for name in (str(mine), str(other), "/run/dbus/other", "/run/real/bus", "/run/dbus/../dbus/system_bus_socket"):
            refused = call_of(unix_address(name), tmp_path, buses)
            assert isinstance(refused, BrokerReply) and refused.error == errno.EACCES


def test_a_proxy_gets_the_supervisors_socket_for_the_one_that_is_to_listen() -> None:
    own = os.pidfd_open(os.getpid())
    with socket.socket(socket.AF_UNIX) as door, socket.socket(socket.AF_UNIX) as wanted:
        mine = Broker(os.getpid(), own, (), None, door=door)
        made = mine.carry_out(Notification(1, os.getpid(), "listen", (wanted.fileno(), 10, 0, 0, 0, 0)), lambda: True)
        assert isinstance(made, Replacement)
        ((number, ours),) = made.places
        assert number == wanted.fileno() and os.fstat(ours.fileno()).st_ino == os.fstat(door.fileno()).st_ino
        made.close()
        door.close()
        late = mine.carry_out(Notification(1, os.getpid(), "listen", (wanted.fileno(), 10, 0, 0, 0, 0)), lambda: True)
        assert isinstance(late, BrokerReply) and late.error
    os.close(own)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("protocol", ["none", "its own"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_of_the_network_is_made_as_it_was_asked_for(family: int, protocol: str, kind: int) -> None:
    own = socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else socket.IPPROTO_UDP
    for flags in (0, socket.SOCK_NONBLOCK, socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC):
        made = asked_for(family, kind | flags, own if protocol == "its own" else 0)
        assert isinstance(made, Made)
        with made.socket as found:
            assert (found.family, found.type & 0xF, protocol_of(found)) == (family, kind, own)
            assert os.get_blocking(found.fileno()) is not bool(flags & socket.SOCK_NONBLOCK)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_datagram_socket_takes_nothing_but_from_a_peer_that_a_rule_lists(host: str) -> None:
    """A send without an address binds it, so anybody could reach it otherwise."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = asked_for(family, socket.SOCK_DGRAM, 0)
    assert isinstance(made, Made)
    with made.socket as own, socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind((host, 0))
        client = Client(f"[{host}]:*/udp" if ":" in host else f"{host}:*/udp")
        own.setblocking(False)

        def reaches() -> bool:
            peer.sendto(b"x", (host, own.getsockname()[1]))  # over loopback it has arrived, or never will
            try:
                return own.recv(8) == b"x"
            except BlockingIOError:
                return False

        with pytest.raises(OSError, match="Destination address required"):
            own.send(b"x")
        assert own.getsockname()[1] and not reaches()
        refused = client.ask(
            "connect", own.fileno(), inet("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 53)
        )
        assert isinstance(refused, BrokerReply) and refused.wanted and not reaches()
        for _ in range(2):
            assert client.ask("connect", own.fileno(), inet(*peer.getsockname()[:2])) == BrokerReply()
            assert reaches()
        assert client.ask("connect", own.fileno(), bytes(16)) == BrokerReply()
        with pytest.raises(OSError, match="Destination address required"):
            own.send(b"x")
        assert own.getsockname()[1] and not reaches()
        client.close()


@given(family=st.integers(0, 64), kind=st.integers(0, 1 << 32), protocol=st.integers(0, 300))
def test_no_other_socket_is_made(family: int, kind: int, protocol: int) -> None:
    made = asked_for(family, kind, protocol)
    if isinstance(made, Made):
        with made.socket as found:
            kinds = {
                (int(socket.SOCK_STREAM), int(socket.IPPROTO_TCP)),
                (int(socket.SOCK_DGRAM), int(socket.IPPROTO_UDP)),
            }
            assert family in (socket.AF_INET, socket.AF_INET6) and (kind & 0xF, protocol_of(found)) in kinds
            assert protocol in (0, protocol_of(found))
    else:
        assert isinstance(made, BrokerReply) and made.error == errno.EPERM and made.refused


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a socket of another uid")
def test_a_socket_belongs_to_the_process_that_asked() -> None:
    """As the owner that packet filters match and /proc/net/tcp shows, so nothing of it looks like root's."""
    made = asked_for(socket.AF_INET, socket.SOCK_STREAM, 0, uid=771007)
    assert isinstance(made, Made)
    with made.socket as found:
        assert os.fstat(found.fileno()).st_uid == 771007
    with socket.socket() as ours:
        assert os.fstat(ours.fileno()).st_uid == 0


def protocol_of(found: socket.socket) -> int:
    return found.getsockopt(socket.SOL_SOCKET, 38)  # SO_PROTOCOL


def asked_for(family: int, kind: int, protocol: int, uid: int | None = None) -> Outcome:
    call = Notification(1, os.getpid(), "socket", (int(family), int(kind), int(protocol), 0, 0, 0))
    return Broker(os.getpid(), -1, (), None, uid).carry_out(call, lambda: True)


class Client:
    """A process that asks: this one. Its calls go to one broker, with addresses in its own memory."""

    def __init__(self, *rules: str) -> None:
        self._pidfd = os.pidfd_open(os.getpid())
        self._broker = Broker(os.getpid(), self._pidfd, tuple(parse_egress(rule) for rule in rules), None)

    def ask(self, call: str, number: int, address: bytes) -> Outcome:
        buffer = ctypes.create_string_buffer(address, len(address))
        arguments = (number, ctypes.addressof(buffer), len(address), 0, 0, 0)
        notification = Notification(1, os.getpid(), call, arguments)
        return self._broker.carry_out(notification, lambda: True)

    def close(self) -> None:
        os.close(self._pidfd)


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client("192.0.2.7:443")
    yield made
    made.close()


def inet(host: str, port: int) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host)
    start = struct.pack("=H", family) + struct.pack("!H", port)
    return start + packed + bytes(8) if family == socket.AF_INET else start + bytes(4) + packed + bytes(4)


def state_of(found: socket.socket) -> int:
    """The state of a TCP socket: the first byte of TCP_INFO (10 is LISTEN)."""
    return found.getsockopt(socket.IPPROTO_TCP, 11, 8)[0]


def test_binding_to_no_address_and_no_port_is_answered_as_if_done(client: Client) -> None:
    for host, kind in (("0.0.0.0", socket.SOCK_STREAM), ("0.0.0.0", socket.SOCK_DGRAM), ("::", socket.SOCK_STREAM)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as made:
            assert client.ask("bind", made.fileno(), inet(host, 0)) == BrokerReply()
            assert made.getsockname()[1] == 0  # nothing was bound


@pytest.mark.parametrize(("host", "port"), [("0.0.0.0", 8080), ("127.0.0.1", 8080), ("192.0.2.1", 22), ("::1", 80)])
def test_binding_to_a_port_is_refused_and_told(client: Client, host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as made:
        refused = client.ask("bind", made.fileno(), inet(host, port))
        assert isinstance(refused, BrokerReply) and refused.error == errno.EACCES and str(port) in refused.refused


def test_binding_to_an_address_of_the_host_is_no_offence_and_not_done(client: Client) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        for host in ("127.0.0.1", "192.0.2.1"):
            assert client.ask("bind", made.fileno(), inet(host, 0)) == BrokerReply(error=errno.EADDRNOTAVAIL)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_pair_over_loopback_becomes_one_of_unix_sockets_that_nothing_else_can_reach(
    client: Client, host: str
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener, socket.socket(family) as caller:
        caller.setblocking(False)
        assert client.ask("bind", listener.fileno(), inet(host, 0)) == BrokerReply()
        assert state_of(listener) != 10 and listener.getsockname()[1] == 0  # no door is open
        made = client.ask("connect", caller.fileno(), inet(host, 0))
        assert isinstance(made, Replacement)
        (number, theirs), (other, ours) = made.places
        assert (number, other) == (listener.fileno(), caller.fileno())
        assert theirs.family == ours.family == socket.AF_UNIX and ours.gettimeout() == 0.0
        assert not os.path.exists(theirs.getsockname())
        accepted, _ = theirs.accept()
        with accepted:
            ours.send(b"wake")
            assert accepted.recv(8) == b"wake"
        made.close()
        assert client.ask("connect", caller.fileno(), inet(host, 0)) == BrokerReply(error=errno.ECONNREFUSED)


def test_a_pair_is_not_made_of_another_socket_under_the_same_number(client: Client) -> None:
    with socket.socket() as listener, socket.socket() as caller, socket.socket() as other:
        assert client.ask("bind", listener.fileno(), inet("127.0.0.1", 0)) == BrokerReply()
        os.dup2(other.fileno(), listener.fileno())
        assert client.ask("connect", caller.fileno(), inet("127.0.0.1", 0)) == BrokerReply(error=errno.ECONNREFUSED)


def test_few_sockets_are_remembered(client: Client) -> None:
    made = [socket.socket() for _ in range(12)]
    for one in made:
        assert client.ask("bind", one.fileno(), inet("127.0.0.1", 0)) == BrokerReply()
    with socket.socket() as caller:
        for _ in range(8):
            pair = client.ask("connect", caller.fileno(), inet("127.0.0.1", 0))
            assert isinstance(pair, Replacement)
            pair.close()
        assert client.ask("connect", caller.fileno(), inet("127.0.0.1", 0)) == BrokerReply(error=errno.ECONNREFUSED)
    for one in made:
        one.close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("host", ["127.0.0.2", "192.0.2.7", "::2", "::ffff:127.0.0.1"])
def test_at_port_0_is_nothing_and_nobody_is_told(client: Client, host: str, kind: int) -> None:
    """No rule can list it, so it is nothing that a configuration could lack."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as made:
        assert client.ask("connect", made.fileno(), inet(host, 0)) == BrokerReply(error=errno.EADDRNOTAVAIL)


def test_a_host_without_a_rule_is_wanted_and_not_an_offence(client: Client) -> None:
    with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        for made, host, port, wanted in (
            (stream, "192.0.2.8", 443, "192.0.2.8:443"), (stream, "192.0.2.7", 80, "192.0.2.7:80"),
            (datagram, "192.0.2.53", 53, "192.0.2.53:53/udp"), (datagram, "192.0.2.53", 443, ""),
        ):  # fmt: skip
            answer = client.ask("connect", made.fileno(), inet(host, port))
            assert answer == BrokerReply(error=errno.EACCES, wanted=wanted)
            assert not wanted or parse_egress(wanted)  # so it can be written as a rule
