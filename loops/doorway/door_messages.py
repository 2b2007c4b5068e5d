"""The protocol between a door with a process of its own and Primary: a table, and its messages on a link. Pure.

Connections are known by numbers, which the door gives and never uses again in the life of its process. Primary believes
nothing of what the door says but that it said so: a session belongs to a connection by the authority's word, and each
frame proves its session. A message travels as what the link takes for a frame, so small neighbours share a packet.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tlsrt.channels.control.client_messages import (
    ChallengedMessage,
    ChallengeMessage,
    ClientLockMessage,
    ClientUnlockMessage,
    DelegatedMessage,
    DelegateMessage,
    EnrolledMessage,
    EnrolMessage,
    NotEnrolledMessage,
    OpenMessage,
    RefusedMessage,
    RenewedMessage,
    RenewMessage,
)
from tlsrt.channels.control.seqpacket import Message, MessageTable
from tlsrt.channels.control.trust import OperatorsMessage, SuccessionMessage
from tlsrt.channels.frames.frame import FRAME_MAX
from tlsrt.errors import PeerError

CAP: Final = FRAME_MAX + 64
ASKED_MAX: Final = 32 * 1024  # bytes of what a client asks of the authority, whose channel takes 64 KiB
_HEAD, _TAIL = b"\x94\xc6", b"\xc0\xc0\xc0"  # an array of four: bytes with a length of 32 bits, and nothing else
_BEFORE = len(_HEAD) + 4


class HelloMessage(NamedTuple):
    """The door's process has connected; what was said of its predecessor's connections is over."""

    incarnation: int


class ClientFrameMessage(NamedTuple):
    """A frame of a client, or for one."""

    connection: int
    frame: bytes


class ConnectedMessage(NamedTuple):
    """A client has come from this address, and its TLS has shown this certificate (DER); a browser's shows none."""

    connection: int
    address: str
    certificate: bytes


class ConnectionMessage(NamedTuple):
    """A connection of a client has ended."""

    connection: int


class HttpRequestMessage(NamedTuple):
    """A client for HTTP asks for something."""

    connection: int
    target: str
    authorization: str
    is_foreign: int


class WebRequestMessage(NamedTuple):
    """A browser asks for a path."""

    address: str
    path: str
    authorization: str
    is_foreign: int


class RefusedConnectionMessage(NamedTuple):
    """A connection was refused, or ended in disorder."""

    address: str
    word: str


class OverPlacesMessage(NamedTuple):
    """A client has used up its share of the connections."""

    client: str


class DoorOffenceMessage(NamedTuple):
    """An offence of this address, or of a connection that has proved who it is (else 0)."""

    key: str
    connection: int
    word: str


class StrangerMessage(NamedTuple):
    """A client at this address has sent something to the decoy endpoint."""

    address: str


class BeginMessage(NamedTuple):
    """Serve for this incarnation of the door and no other; of a locked host, with the id of the lock."""

    incarnation: int
    install: bytes
    boot: bytes
    lock: bytes


class GrantedClientMessage(NamedTuple):
    """A client's grant, which only the client can read, and whose session it is."""

    connection: int
    number: int
    ciphertext: bytes
    signature: bytes
    subject: str


class CloseClientMessage(NamedTuple):
    """Dismiss a client with one word."""

    connection: int
    word: str


class RestMessage(NamedTuple):
    """Read nothing from a connection for so long."""

    connection: int
    for_ms: int


class RefusedFramesMessage(NamedTuple):
    """So many frames of a client were refused in one turn, and so many of them were offences."""

    connection: int
    frames: int
    offences: int


class BlockMessage(NamedTuple):
    """Limit or block an address for a time; 0 ends that."""

    step: str
    address: str
    for_ms: int


class DismissMessage(NamedTuple):
    """Dismiss all clients within so long, and say when they are gone."""

    timeout_ms: int


DOOR, GATE = "door", "gate"
_DOOR, _GATE = frozenset({DOOR}), frozenset({GATE})
NEW, OPEN, LOCKED = "new", "open", "locked"
_ANY, _OPEN, _LOCKED = frozenset({NEW, OPEN, LOCKED}), frozenset({OPEN}), frozenset({LOCKED})
_BEGUN = _OPEN | _LOCKED

DOOR_LINK = MessageTable(
    "door",
    CAP,
    (
        # number, name, who may send it, in which states, its fields
        Message(1, "hello", _DOOR, _ANY, HelloMessage),
        Message(2, "frame", _DOOR, _OPEN, ClientFrameMessage),
        Message(3, "connected", _DOOR, _OPEN, ConnectedMessage),
        Message(4, "closed", _DOOR, _OPEN, ConnectionMessage),
        Message(5, "challenge", _DOOR, _BEGUN, ChallengeMessage),
        Message(6, "open", _DOOR, _OPEN, OpenMessage),
        Message(7, "delegate", _DOOR, _OPEN, DelegateMessage),
        Message(8, "renew", _DOOR, _OPEN, RenewMessage),
        Message(9, "lock", _DOOR, _OPEN, ClientLockMessage),
        Message(10, "unlock", _DOOR, _LOCKED, ClientUnlockMessage),
        Message(11, "enrol", _DOOR, _OPEN, EnrolMessage),
        Message(12, "http_request", _DOOR, _OPEN, HttpRequestMessage),
        Message(13, "web_request", _DOOR, _BEGUN, WebRequestMessage),
        Message(14, "refused_connection", _DOOR, _BEGUN, RefusedConnectionMessage),
        Message(15, "over_places", _DOOR, _BEGUN, OverPlacesMessage),
        Message(16, "offence", _DOOR, _BEGUN, DoorOffenceMessage),
        Message(17, "stranger", _DOOR, _BEGUN, StrangerMessage),
        Message(18, "leaving", _DOOR, _BEGUN, DismissMessage),
        Message(19, "dismissed", _DOOR, _BEGUN),
        Message(32, "begin", _GATE, _ANY, BeginMessage),
        Message(33, "answer", _GATE, _OPEN, ClientFrameMessage),
        Message(34, "challenged", _GATE, _BEGUN, ChallengedMessage),
        Message(35, "granted", _GATE, _OPEN, GrantedClientMessage),
        Message(36, "delegated", _GATE, _OPEN, DelegatedMessage),
        Message(37, "renewed", _GATE, _OPEN, RenewedMessage),
        Message(38, "refused", _GATE, _BEGUN, RefusedMessage),
        Message(39, "enrolled", _GATE, _OPEN, EnrolledMessage),
        Message(40, "not_enrolled", _GATE, _OPEN, NotEnrolledMessage),
        Message(41, "close", _GATE, _OPEN, CloseClientMessage),
        Message(42, "succession", _GATE, _OPEN, SuccessionMessage),
        Message(43, "operators", _GATE, _BEGUN, OperatorsMessage),
        Message(44, "rest", _GATE, _OPEN, RestMessage),
        Message(45, "refused_frames", _GATE, _OPEN, RefusedFramesMessage),
        Message(46, "block", _GATE, _BEGUN, BlockMessage),
        Message(47, "listen", _GATE, _BEGUN),
        Message(48, "stop_listening", _GATE, _BEGUN),
        Message(49, "dismiss", _GATE, _BEGUN, DismissMessage),
    ),
)
ASKS: Final = frozenset({"challenge", "open", "delegate", "renew", "lock", "unlock", "enrol"})


def pack(name: str, *fields: object) -> bytes:
    """Return a message as a link takes it."""
    packet = DOOR_LINK.encode(name, *fields)
    return b"".join((_HEAD, len(packet).to_bytes(4, "big"), packet, _TAIL))


def parse_untrusted(data: bytes, sender: str, state: str) -> tuple[str, Any]:
    """Return (name, message) of what came over the link. Raise PeerError for anything that the table does not list."""
    if data[:2] != _HEAD or data[-3:] != _TAIL or int.from_bytes(data[2:_BEFORE], "big") != len(data) - _BEFORE - 3:
        raise PeerError("not_a_door_message")
    return DOOR_LINK.decode_untrusted(data[_BEFORE:-3], sender, state)


def check_asked(message: tuple[object, ...]) -> None:
    """Raise PeerError for a question that is too large to be passed on."""
    if sum(len(field) for field in message if isinstance(field, bytes | str)) > ASKED_MAX:
        raise PeerError("oversize")
