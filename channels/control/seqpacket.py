"""Control channels: msgpack arrays over SOCK_SEQPACKET socketpairs, for the life and trust protocols.

Rules (each learned from a measured accident): a packet is at most its table's cap; a truncated or empty packet ends
the peer (an empty one reads like end of file); a send never blocks, and a full socket means that the peer hangs;
an ancillary buffer exists only where descriptors are expected; who is at the other end is known by the descriptor.

Pure half: `MessageTable` says which message may come from whom in which state with which fields;
`Table.decode_untrusted` is the only reader. Shell half: `ControlChannel`.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from tlsrt.errors import MisuseError, PeerError

MAX_DESCRIPTORS = 12  # in one packet; `boot` has nine
U64 = 1 << 64


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message. `states` lists the states of the conversation in which it is legal."""

    code: int
    name: str
    sender: str
    fields: tuple[type, ...]
    states: frozenset[str]
    descriptors: int = 0


class MessageTable:
    """A protocol: all its messages, and the cap in bytes of one packet."""

    def __init__(self, name: str, cap: int, messages: Iterable[Message]) -> None:
        self.name = name
        self.cap = cap
        self.messages = tuple(messages)
        self.by_code = {message.code: message for message in self.messages}
        self.by_name = {message.name: message for message in self.messages}
        if not len(self.messages) == len(self.by_code) == len(self.by_name):
            raise MisuseError(f"table {name}: codes and names must be unique")

    def encode(self, name: str, *fields: object) -> bytes:
        """Return the packet for a message of ours; raise MisuseError if it does not fit the table."""
        message = self.by_name[name]
        if not _fits(message, fields):
            raise MisuseError(f"{self.name}: fields of {name} do not fit {message.fields}")
        packet: bytes = msgpack.packb([message.code, *fields], use_bin_type=True)
        if len(packet) > self.cap:
            raise MisuseError(f"{self.name}: {name} has {len(packet)} bytes, the cap is {self.cap}: page it")
        return packet

    def decode_untrusted(self, packet: bytes, sender: str, state: str) -> tuple[str, list[Any]]:
        """Return (name, fields) of a peer's packet; raise PeerError for anything the table does not list."""
        if not packet or len(packet) > self.cap:
            raise PeerError("bad_packet_size")
        try:
            items = msgpack.unpackb(packet, raw=False, strict_map_key=True, max_map_len=256, max_ext_len=0)
        except Exception as error:  # msgpack raises half a dozen classes; all of them mean the same here
            raise PeerError("not_msgpack") from error
        if not isinstance(items, list) or not items or type(items[0]) is not int:
            raise PeerError("not_a_message")
        message = self.by_code.get(items[0])
        if message is None:
            raise PeerError("unknown_message")
        if message.sender != sender:
            raise PeerError("wrong_direction")
        if state not in message.states:
            raise PeerError("wrong_state")
        fields = items[1:]
        if not _fits(message, fields):
            raise PeerError("bad_fields")
        return message.name, fields


def _fits(message: Message, fields: Sequence[object]) -> bool:
    if len(fields) != len(message.fields):
        return False
    for kind, value in zip(message.fields, fields, strict=True):
        if type(value) is not kind:  # bool is not int here
            return False
        if kind is int and not 0 <= value < U64:  # type: ignore[operator]
            return False
    return True


class ControlChannel:
    """One end of a SEQPACKET pair. Owns its descriptor; non-blocking."""

    def __init__(self, descriptor: int, table: MessageTable) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self.table = table

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def detach(self) -> int:
        """Give the descriptor up without closing it."""
        return self._socket.detach()

    def send(self, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        """Send one message; raise PeerError("hung") if the peer does not read, PeerError("closed") if it is gone."""
        packet = self.table.encode(name, *fields)
        try:
            if descriptors:
                rights = array.array("i", descriptors)
                self._socket.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_NOSIGNAL)
            else:
                self._socket.send(packet, socket.MSG_NOSIGNAL)
        except BlockingIOError as error:
            raise PeerError("hung") from error
        except OSError as error:
            raise PeerError("closed") from error

    def receive(self, sender: str, state: str, *, descriptors: bool = False) -> tuple[str, list[Any], list[int]] | None:
        """Return (name, fields, descriptors), or None when nothing waits.

        Raises PeerError, also when the peer is gone. Descriptors are accepted only if asked for: without an
        ancillary buffer the kernel discards what a hostile peer attaches.
        """
        space = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4) if descriptors else 0
        try:
            packet, ancillary, flags, _ = self._read(space)
        except BlockingIOError:
            return None
        except OSError as error:
            raise PeerError("closed") from error
        received = _descriptors(ancillary)
        try:
            if not packet:
                raise PeerError("closed")
            if flags & (socket.MSG_TRUNC | (socket.MSG_CTRUNC if descriptors else 0)):
                raise PeerError("truncated")
            name, fields = self.table.decode_untrusted(packet, sender, state)
            if len(received) != self.table.by_name[name].descriptors:
                raise PeerError("bad_descriptors")
        except PeerError:
            for descriptor in received:
                os.close(descriptor)
            raise
        return name, fields, received

    def _read(self, space: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        """Read one packet. A peer that ended with something unread is told first, once; its last words lie behind."""
        try:
            return self._socket.recvmsg(self.table.cap + 1, space, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return self._socket.recvmsg(self.table.cap + 1, space, socket.MSG_CMSG_CLOEXEC)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    received: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            rights = array.array("i")
            rights.frombytes(data[: len(data) - len(data) % rights.itemsize])
            received.extend(rights)
    return received


def control_pair() -> tuple[int, int]:
    """Return two connected SEQPACKET descriptors, close-on-exec (unix(7))."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    return ours.detach(), theirs.detach()
