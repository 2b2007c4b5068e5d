"""Control channels: msgpack arrays over SOCK_SEQPACKET socketpairs.

Rules (each learned from a measured accident): a packet is at most its table's cap; a truncated or empty packet ends
the peer (an empty one reads like end of file); a send never blocks, and a full socket means that the peer hangs;
an ancillary buffer exists only where descriptors are expected; who is at the other end is known by the descriptor.

Pure half: `MessageTable` says which message may come from which sender in which state with which fields;
`MessageTable.decode_untrusted` is the only reader, and the only place that asks who may send a message. What it
returns is a NamedTuple, so handlers take fields by name. Shell half: `ControlChannel`.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_origin, get_type_hints

import msgpack

from tlsrt.channels.frames.structure import StructureError, unpack_untrusted
from tlsrt.errors import MisuseError, PeerError

MAX_DESCRIPTORS = 12  # in one packet; `boot` has ten
U64 = 1 << 64


class NoFields(NamedTuple):
    """The fields of a message that says all with its name."""


@dataclass(frozen=True, slots=True)
class Message:
    """One row of a table: a message, who may send it, and in which states.

    `fields` is the NamedTuple that it is decoded to; its annotations are the types on the wire. `to` names the one peer
    that it is for, if not any may get it.
    """

    code: int
    name: str
    who: frozenset[str]
    states: frozenset[str]
    fields: type[Any] = NoFields
    descriptors: int = 0
    to: str = ""
    types: tuple[type, ...] = field(init=False)

    def __post_init__(self) -> None:
        hints = get_type_hints(self.fields).values()
        object.__setattr__(self, "types", tuple(get_origin(hint) or hint for hint in hints))


class MessageTable:
    """A protocol: its messages by number, and the cap in bytes of one packet."""

    def __init__(self, name: str, cap: int, messages: Iterable[Message]) -> None:
        self.name = name
        self.cap = cap
        self.messages = tuple(messages)
        self.by_code = {message.code: message for message in self.messages}
        self.by_name = {message.name: message for message in self.messages}
        if list(self.by_code) != sorted(message.code for message in self.messages):
            raise MisuseError(f"table {name}: codes must be unique, and in order")
        if len(self.messages) != len(self.by_name):
            raise MisuseError(f"table {name}: names must be unique")

    def sent_by(self, sender: str) -> frozenset[str]:
        """Return the names of the messages that a sender may send in some state."""
        return frozenset(message.name for message in self.messages if sender in message.who)

    def encode(self, name: str, *fields: object) -> bytes:
        """Return the packet for a message of ours; raise MisuseError if it does not fit the table."""
        message = self.by_name[name]
        if not _fits(message, fields):
            raise MisuseError(f"{self.name}: fields of {name} do not fit {message.types}")
        packet: bytes = msgpack.packb([message.code, *fields], use_bin_type=True)
        if len(packet) > self.cap:
            raise MisuseError(f"{self.name}: {name} has {len(packet)} bytes, the cap is {self.cap}: page it")
        return packet

    def decode_untrusted(self, packet: bytes, sender: str, state: str) -> tuple[str, Any]:
        """Return (name, message) of a peer's packet. Raise PeerError for anything the table does not list."""
        if not packet or len(packet) > self.cap:
            raise PeerError("bad_packet_size")
        try:
            items = unpack_untrusted(packet)
        except StructureError as error:
            raise PeerError("not_msgpack") from error
        if not isinstance(items, list) or not items or type(items[0]) is not int:
            raise PeerError("not_a_message")
        message = self.by_code.get(items[0])
        if message is None:
            raise PeerError("unknown_message")
        if sender not in message.who:
            raise PeerError(self._refusal(message, sender))
        if state not in message.states:
            raise PeerError("wrong_state")
        fields = items[1:]
        if not _fits(message, fields):
            raise PeerError("bad_fields")
        return message.name, message.fields._make(fields)

    def _refusal(self, message: Message, sender: str) -> str:
        """Return why this sender may not send that: only the other side, or others on its own side."""
        side = {peer for each in self.messages if sender in each.who for peer in each.who}
        return f"not_{'_'.join(sorted(message.who))}" if side & message.who else "wrong_direction"


def _fits(message: Message, fields: Sequence[object]) -> bool:
    if len(fields) != len(message.types):
        return False
    for kind, value in zip(message.types, fields, strict=True):
        if type(value) is not kind:  # bool is not int here
            return False
        if kind is int and not 0 <= value < U64:  # type: ignore[operator]
            return False
    return True


_CUT = int(socket.MSG_TRUNC)  # as numbers: each `|` of flags is a call of Python
_CUT_WITH_DESCRIPTORS = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)


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
        """Send one message. Raise PeerError("hung") if the peer does not read, PeerError("closed") if it has closed."""
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

    def receive(self, sender: str, state: str, *, descriptors: bool = False) -> tuple[str, Any, list[int]] | None:
        """Return (name, message, descriptors), or None when nothing waits.

        Raises PeerError, also when the peer has closed its end. Descriptors are accepted only if asked for: without an
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
            if flags & (_CUT_WITH_DESCRIPTORS if descriptors else _CUT):
                raise PeerError("truncated")
            name, message = self.table.decode_untrusted(packet, sender, state)
            if len(received) != self.table.by_name[name].descriptors:
                raise PeerError("bad_descriptors")
        except PeerError:
            for descriptor in received:
                os.close(descriptor)
            raise
        return name, message, received

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
