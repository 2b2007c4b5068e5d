"""A name server of 127.0.0.1, over UDP and TCP, that says what a test wants: also what no honest one would."""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

A, CNAME, AAAA = 1, 5, 28
NO_SUCH_NAME, SERVER_FAILURE = 3, 2


@dataclass
class NameServer:
    """Its records, as name -> addresses or another name; and how it misbehaves about some."""

    port: int
    records: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    ttl_s: int = 1
    silent: set[str] = field(default_factory=set[str])
    failing: set[str] = field(default_factory=set[str])
    truncated: set[str] = field(default_factory=set[str])  # over UDP
    forged: dict[str, str] = field(default_factory=dict[str, str])  # what wrong packets say before the answer
    asked: list[str] = field(default_factory=list[str])

    def answers(self, packet: bytes, *, is_stream: bool) -> list[bytes]:
        """Return the packets that answer a question."""
        name, (kind,) = _name(packet), struct.unpack_from("!H", packet, len(packet) - 4)
        self.asked.append(name)
        number = packet[:2]
        if name in self.silent:
            return []
        if name in self.failing:
            return [number + struct.pack("!HHHHH", 0x8180 | SERVER_FAILURE, 1, 0, 0, 0) + packet[12:]]
        if name in self.truncated and not is_stream:
            return [number + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0) + packet[12:]]
        if name not in self.records:
            return [number + struct.pack("!HHHHH", 0x8180 | NO_SUCH_NAME, 1, 0, 0, 0) + packet[12:]]
        before = [] if name not in self.forged or kind != A else self._forged(packet, self.forged[name])
        return [*before, self._answer(number, packet, name, kind)]

    def _answer(self, number: bytes, packet: bytes, name: str, kind: int) -> bytes:
        records: list[bytes] = []
        for value in self.records[name]:
            records += self._records(name, value, kind)
        return number + struct.pack("!HHHHH", 0x8180, 1, len(records), 0, 0) + packet[12:] + b"".join(records)

    def _records(self, name: str, value: str, kind: int) -> list[bytes]:
        owner = _wire(name)
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            alias = _wire(value)
            own = owner + struct.pack("!HHIH", CNAME, 1, self.ttl_s, len(alias)) + alias
            return [own, *(one for further in self.records[value] for one in self._records(value, further, kind))]
        if kind != (A if address.version == 4 else AAAA):
            return []
        return [owner + struct.pack("!HHIH", kind, 1, self.ttl_s, len(address.packed)) + address.packed]

    def _forged(self, packet: bytes, address: str) -> list[bytes]:
        """Return what who guesses sends: another number, another name."""
        wrong = struct.pack("!H", struct.unpack("!H", packet[:2])[0] ^ 1)
        record = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 600, 4) + ipaddress.ip_address(address).packed
        head = struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
        other = _wire("another.test") + packet[-4:]
        return [wrong + head + packet[12:] + record, packet[:2] + head + other + record]


def _wire(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _name(packet: bytes) -> str:
    labels, at = list[str](), 12
    while size := packet[at]:
        labels.append(packet[at + 1 : at + 1 + size].decode())
        at += size + 1
    return ".".join(labels).lower()


@contextmanager
def name_server(port: int = 0) -> Generator[NameServer, None, None]:
    """Serve in a thread of this process until the block ends, at a port or any one."""
    with (
        socket.create_server(("127.0.0.1", port)) as streams,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        port = streams.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        server = NameServer(port)
        end, stop = socket.socketpair()
        thread = threading.Thread(target=_serve, args=(server, streams, datagrams, stop), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            end.close()
            thread.join()
            stop.close()


def _serve(server: NameServer, streams: socket.socket, datagrams: socket.socket, stop: socket.socket) -> None:
    while True:
        ready = select.select([streams, datagrams, stop], [], [])[0]
        if stop in ready:
            return
        if datagrams in ready:
            packet, peer = datagrams.recvfrom(4096)
            for answer in server.answers(packet, is_stream=False):
                datagrams.sendto(answer, peer)
        if streams in ready:
            with streams.accept()[0] as one:
                one.settimeout(5)
                packet = one.recv(4096)
                for answer in server.answers(packet[2:], is_stream=True):
                    one.sendall(struct.pack("!H", len(answer)) + answer)
